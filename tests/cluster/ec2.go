// A fake of AWS EC2 with the one request that the authenticator makes for the
// template {{EC2PrivateDNSName}}, so that entries for nodes can be tested.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"

	"test-cluster/awsdouble"
)

// useFakeEC2 must be called before the authenticator reads the AWS settings. It
// also replaces the AWS settings of the user who runs the tests.
func useFakeEC2(control string) error {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           "ASIATESTCLUSTER00000",
		"AWS_SECRET_ACCESS_KEY":       awsdouble.SecretKey,
		"AWS_SESSION_TOKEN":           "",
		"AWS_PROFILE":                 "",
		"AWS_REGION":                  "eu-west-1",
		"AWS_CONFIG_FILE":             os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_ENDPOINT_URL_EC2":        control + "/ec2",
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// describeInstances returns a DNS name with the instance ID for every instance,
// as AWS does for subnets with resource-based host names.
func describeInstances(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var items strings.Builder
	for key := range r.PostForm {
		if id := r.PostForm.Get(key); strings.HasPrefix(key, "InstanceId.") {
			fmt.Fprintf(&items, "<item><instanceId>%s</instanceId><privateDnsName>%s.eu-west-1.compute.internal</privateDnsName></item>", id, id)
		}
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>test</requestId>`+
		`<reservationSet><item><instancesSet>%s</instancesSet></item></reservationSet></DescribeInstancesResponse>`, items.String())
}
