// The switches of `bed serve`. Defaults follow EKS where EKS is known, and
// otherwise what makes a test quick to write: no webhook cache, so that a
// removed mapping is not hidden behind it.
package main

import (
	"flag"
	"time"
)

type options struct {
	dir             string
	clusterName     string
	partition       string
	aggregation     bool
	ssoRoleMatch    bool
	webhookCacheTTL time.Duration
}

func parseOptions(args []string) options {
	var o options
	flags := flag.NewFlagSet("bed serve", flag.ExitOnError)
	flags.StringVar(&o.dir, "dir", "", "data folder, made at the start and removed at the end")
	flags.StringVar(&o.clusterName, "cluster-name", "bed", "the name that tokens must be signed for")
	flags.StringVar(&o.partition, "partition", "aws", "the AWS partition whose STS names are accepted")
	flags.BoolVar(&o.aggregation, "aggregation", false, "run the controller that fills aggregated ClusterRoles")
	flags.BoolVar(&o.ssoRoleMatch, "sso-role-match", false, "the authenticator's alpha feature of that name, off on EKS")
	flags.DurationVar(&o.webhookCacheTTL, "authentication-token-webhook-cache-ttl", 0, "as the API server's flag of that name")
	_ = flags.Parse(args)
	return o
}
