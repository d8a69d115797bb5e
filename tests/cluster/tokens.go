// Tokens made by the authenticator's own generator, as its client command and
// (to the byte but for the order of the query) `aws eks get-token` make them.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"sigs.k8s.io/aws-iam-authenticator/pkg/endpoints"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"
)

// A region of each partition: the verifier accepts STS names of its own only.
var regions = map[string]string{
	endpoints.AwsPartitionID:      "eu-west-1",
	endpoints.AwsCnPartitionID:    "cn-north-1",
	endpoints.AwsUsGovPartitionID: "us-gov-west-1",
}

func tokenFor(o options, arn string) (string, error) {
	keys, err := credentialsFor(arn)
	if err != nil {
		return "", err
	}
	generator, err := token.NewGenerator(false, false)
	if err != nil {
		return "", err
	}
	client := awssts.New(awssts.Options{
		Region: regions[o.partition],
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(
			keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)),
	})
	made, err := generator.GetWithSTS(o.clusterName, client)
	return made.Token, err
}
