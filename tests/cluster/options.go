// The flags of `test-cluster serve`. The defaults are those of EKS as far as they
// are known. The webhook cache is off, so that a test sees a removed mapping
// without waiting for the cache.
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
	nodeAuthorizer  bool
	ssoRoleMatch    bool
	webhookCacheTTL time.Duration
}

func parseOptions(args []string) options {
	var o options
	flags := flag.NewFlagSet(programName+" serve", flag.ExitOnError)
	flags.StringVar(&o.dir, "dir", "", "data directory, created at the start and removed at the end")
	flags.StringVar(&o.clusterName, "cluster-name", programName, "the cluster name that tokens must be signed for")
	flags.StringVar(&o.partition, "partition", "aws", "the AWS partition whose STS host names are accepted")
	flags.BoolVar(&o.aggregation, "aggregation", false, "run the controller that fills aggregated ClusterRoles")
	flags.BoolVar(&o.nodeAuthorizer, "node-authorizer", false, "run the Node authorizer before the others, as EKS does")
	flags.BoolVar(&o.ssoRoleMatch, "sso-role-match", false, "enable the alpha feature SSORoleMatch of the authenticator, which is off on EKS")
	flags.DurationVar(&o.webhookCacheTTL, "authentication-token-webhook-cache-ttl", 0, "passed to the API server")
	_ = flags.Parse(args)
	return o
}
