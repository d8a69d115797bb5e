// The double of AWS EC2, as far as the template {{EC2PrivateDNSName}} asks it,
// so that node entries can be tried like any other.
package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

// useEC2Double must run before the authenticator reads the AWS settings; it
// also keeps the settings of whoever runs the tests out of them.
func useEC2Double(control string) error {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID":           "ASIATESTCLUSTER00000",
		"AWS_SECRET_ACCESS_KEY":       secretKey,
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

// describeInstances names every instance after its id, as AWS does where host
// names follow the resource and not the address.
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
	fmt.Fprintf(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>bed</requestId>`+
		`<reservationSet><item><instancesSet>%s</instancesSet></item></reservationSet></DescribeInstancesResponse>`, items.String())
}
