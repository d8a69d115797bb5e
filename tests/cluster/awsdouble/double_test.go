package awsdouble

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const dev = "arn:aws:sts::111122223333:assumed-role/dev/alice"

// fixture is a double, and clients of the SDK of AWS that use it as one principal.
type fixture struct {
	*testing.T
	*Double
	server *httptest.Server
	config aws.Config
	ctx    context.Context
}

func start(t *testing.T) *fixture {
	t.Helper()
	double, err := New(Config{ClusterName: "test", Partition: "aws", Region: "eu-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	double.UseServer("https://127.0.0.1:1", []byte("PEM"))
	server := httptest.NewServer(double)
	t.Cleanup(server.Close)
	f := &fixture{T: t, Double: double, server: server, ctx: context.Background()}
	f.config = aws.Config{
		Region:       "eu-west-1",
		BaseEndpoint: aws.String(server.URL),
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
	}
	f.as(CredentialsInput{ARN: dev})
	return f
}

// as makes the next clients those of another principal.
func (f *fixture) as(input CredentialsInput) {
	f.Helper()
	keys, err := f.Credentials(input)
	if err != nil {
		f.Fatal(err)
	}
	f.config.Credentials = credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken)
}

func (f *fixture) eks() *eks.Client { return eks.NewFromConfig(f.config) }
func (f *fixture) sts() *sts.Client { return sts.NewFromConfig(f.config) }
func (f *fixture) iam() *iam.Client { return iam.NewFromConfig(f.config) }

// wantError fails unless the error has this code, and this text in its message.
func (f *fixture) wantError(err error, code, text string) {
	f.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		f.Fatalf("%s is expected, and not %v", code, err)
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		f.Fatalf("%s %q is expected, and not %v", code, text, err)
	}
}

func (f *fixture) ok(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func equal[T comparable](f *fixture, got, want T) {
	f.Helper()
	if got != want {
		f.Fatalf("%v is expected, and not %v", want, got)
	}
}

func (f *fixture) describeCluster() error {
	_, err := f.eks().DescribeCluster(f.ctx, &eks.DescribeClusterInput{Name: aws.String("test")})
	return err
}

func (f *fixture) callerIdentity() error {
	_, err := f.sts().GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
	return err
}

func TestCredentialsAreChecked(t *testing.T) {
	f := start(t)
	f.ok(f.describeCluster())
	f.ok(f.callerIdentity())
	expired := int64(-1)
	f.as(CredentialsInput{ARN: dev, ValidFor: &expired})
	f.wantError(f.describeCluster(), "ExpiredTokenException", "token included in the request is expired")
	f.wantError(f.callerIdentity(), "ExpiredToken", "token included in the request is expired")
	f.as(CredentialsInput{ARN: "arn:aws:iam::111122223333:user/team/bob", Permanent: true})
	f.ok(f.callerIdentity())
	f.config.Credentials = credentials.NewStaticCredentialsProvider("AKIAUNKNOWN000000000", SecretKey, "")
	f.wantError(f.describeCluster(), "UnrecognizedClientException", "security token")
	f.wantError(f.callerIdentity(), "InvalidClientTokenId", "security token")
	keys, _ := f.Credentials(CredentialsInput{ARN: dev})
	f.config.Credentials = credentials.NewStaticCredentialsProvider(keys.AccessKeyID, "another", keys.SessionToken)
	f.wantError(f.describeCluster(), "InvalidSignatureException", "does not match the signature you provided")
	f.wantError(f.callerIdentity(), "SignatureDoesNotMatch", "does not match the signature you provided")
}

// clock signs with another time than that of the double.
type clock struct {
	*v4.Signer
	ahead time.Duration
}

func (c clock) SignHTTP(ctx context.Context, keys aws.Credentials, r *http.Request, hash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error {
	return c.Signer.SignHTTP(ctx, keys, r, hash, service, region, at.Add(c.ahead), options...)
}

func TestClockOfCallerIsChecked(t *testing.T) {
	f := start(t)
	for ahead, text := range map[time.Duration]string{
		-14 * time.Minute: "",
		14 * time.Minute:  "",
		-16 * time.Minute: "Signature expired: ",
		16 * time.Minute:  "Signature not yet current: ",
	} {
		client := eks.NewFromConfig(f.config, func(o *eks.Options) { o.HTTPSignerV4 = clock{v4.NewSigner(), ahead} })
		_, err := client.DescribeCluster(f.ctx, &eks.DescribeClusterInput{Name: aws.String("test")})
		if text == "" {
			f.ok(err)
		} else {
			f.wantError(err, "InvalidSignatureException", text)
		}
	}
}

// signed sends a request that no SDK would send.
func (f *fixture) signed(method, path, body string, change func(*http.Request)) (int, string) {
	f.Helper()
	request, err := http.NewRequest(method, f.server.URL+path, strings.NewReader(body))
	f.ok(err)
	keys, err := f.config.Credentials.Retrieve(f.ctx)
	f.ok(err)
	f.ok(v4.NewSigner().SignHTTP(f.ctx, keys, request, hexHash([]byte(body)), "eks", "eu-west-1", time.Now()))
	change(request)
	response, err := http.DefaultClient.Do(request)
	f.ok(err)
	defer response.Body.Close()
	return response.StatusCode, response.Header.Get("x-amzn-errortype")
}

func TestInvalidRequestsAreRefused(t *testing.T) {
	f := start(t)
	unchanged := func(*http.Request) {}
	for _, test := range []struct {
		method, path, body, code string
		status                   int
		change                   func(*http.Request)
	}{
		{"GET", "/clusters/test", "", "", 200, unchanged},
		{"GET", "/clusters?maxResults=101", "", "ValidationException", 400, unchanged},
		{"GET", "/clusters?maxResults=x", "", "SerializationException", 400, unchanged},
		{"GET", "/clusters?limit=5", "", "ValidationException", 400, unchanged},
		{"POST", "/clusters", "{}", "UnknownOperationException", 404, unchanged},
		{"GET", "/clusters/test", "{", "SerializationException", 400, unchanged},
		{"GET", "/clusters/test", `{"name":"other"}`, "ValidationException", 400, unchanged},
		{"GET", "/clusters/test", "", "MissingAuthenticationTokenException", 403, func(r *http.Request) { r.Header.Del("Authorization") }},
		{"GET", "/clusters/test", "", "IncompleteSignatureException", 400, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }},
		{"GET", "/clusters/test", "", "InvalidSignatureException", 403, func(r *http.Request) { r.Header.Set("X-Amz-Other", "x") }},
		{"GET", "/clusters/test", "", "InvalidSignatureException", 403, func(r *http.Request) { r.URL.Path = "/clusters/other" }},
		{"GET", "/clusters/test", "", "InvalidSignatureException", 403, func(r *http.Request) { r.Header.Del("X-Amz-Date") }},
	} {
		status, code := f.signed(test.method, test.path, test.body, test.change)
		if status != test.status || code != test.code {
			f.Fatalf("%s %s %s: %d %s", test.method, test.path, test.body, status, code)
		}
	}
}

func TestFaultsAndCalls(t *testing.T) {
	f := start(t)
	_, err := f.AddFaults([]Fault{
		{Call: "DescribeCluster", Code: "AccessDeniedException", Status: 403, Message: "User is not authorized", Times: 1, Skip: 1},
		{Principal: "user/bob", Code: "ThrottlingException", Status: 429, Message: "Rate exceeded"},
		{Call: "ListClusters", LoseAnswer: true, Times: 1},
	})
	f.ok(err)
	f.ok(f.describeCluster())
	f.wantError(f.describeCluster(), "AccessDeniedException", "User is not authorized")
	f.ok(f.describeCluster())
	if _, err := f.eks().ListClusters(f.ctx, &eks.ListClustersInput{}); err == nil || !strings.Contains(err.Error(), "EOF") {
		f.Fatalf("the answer is not lost: %v", err)
	}
	f.as(CredentialsInput{ARN: "arn:aws:iam::111122223333:user/bob"})
	f.wantError(f.describeCluster(), "ThrottlingException", "Rate exceeded")
	f.wantError(f.callerIdentity(), "ThrottlingException", "Rate exceeded")
	var seen []string
	for _, made := range f.calls.take(true) {
		seen = append(seen, made.Service+" "+made.Operation+" "+made.Error)
	}
	equal(f, strings.Join(seen, ", "), "eks DescribeCluster , eks DescribeCluster AccessDeniedException, eks DescribeCluster , "+
		"eks ListClusters , eks DescribeCluster ThrottlingException, sts GetCallerIdentity ThrottlingException")
	f.Reset()
	f.ok(f.describeCluster())
}
