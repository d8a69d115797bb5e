// Tokens from the generator of the authenticator, which its own client command
// uses. `aws eks get-token` makes the same tokens except for the order of the
// query parameters.
package main

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"sigs.k8s.io/aws-iam-authenticator/pkg/endpoints"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"test-cluster/awsdouble"
)

// A region of each partition, because the verifier only accepts the STS host
// names of its own partition.
var regions = map[string]string{
	endpoints.AwsPartitionID:      "eu-west-1",
	endpoints.AwsCnPartitionID:    "cn-north-1",
	endpoints.AwsUsGovPartitionID: "us-gov-west-1",
}

func tokenFor(o options, double *awsdouble.Double, arn string) (string, error) {
	keys, err := double.Credentials(awsdouble.CredentialsInput{ARN: arn})
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
	presigned, err := generator.GetWithSTS(o.clusterName, client)
	return presigned.Token, err
}
