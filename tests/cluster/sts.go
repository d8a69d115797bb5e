// The STS of the token verifier, installed as the HTTP transport of the token verifier. It
// checks the signature of GetCallerIdentity as STS does and returns the identity
// that signed it, so a token for another cluster or of another form is rejected.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"test-cluster/awsdouble"
)

const emptyPayload = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

type fakeSTS struct {
	other  http.RoundTripper
	double *awsdouble.Double
}

func installFakeSTS(double *awsdouble.Double) {
	http.DefaultTransport = fakeSTS{other: http.DefaultTransport, double: double}
}

func (s fakeSTS) RoundTrip(request *http.Request) (*http.Response, error) {
	if !strings.HasPrefix(request.URL.Hostname(), "sts") {
		return s.other.RoundTrip(request)
	}
	query := request.URL.Query()
	accessKey, _, _ := strings.Cut(query.Get("X-Amz-Credential"), "/")
	id, err := s.double.Authenticate(accessKey, query.Get("X-Amz-Security-Token"))
	if err != nil {
		return errorResponse(request, "InvalidClientTokenId", err.Error())
	}
	if err := checkSignature(request, query); err != nil {
		return errorResponse(request, "SignatureDoesNotMatch", err.Error())
	}
	return response(request, http.StatusOK, map[string]any{
		"GetCallerIdentityResponse": map[string]any{
			"GetCallerIdentityResult": map[string]string{"Account": id.Account, "Arn": id.ARN, "UserId": id.UserID},
			"ResponseMetadata":        map[string]string{"RequestId": "test"},
		},
	})
}

// checkSignature signs the request again, with its own parameters and the header
// that the verifier has added, and compares the signatures.
func checkSignature(request *http.Request, query url.Values) error {
	scope := strings.Split(query.Get("X-Amz-Credential"), "/")
	if len(scope) != 5 || scope[3] != "sts" {
		return errors.New("the credential scope is not for the service sts")
	}
	at, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	if err != nil {
		return err
	}
	plain := url.URL{Scheme: "https", Host: request.URL.Host, Path: "/", RawQuery: url.Values{
		"Action":        query["Action"],
		"Version":       query["Version"],
		"X-Amz-Expires": query["X-Amz-Expires"],
	}.Encode()}
	resigned, err := http.NewRequest(http.MethodGet, plain.String(), nil)
	if err != nil {
		return err
	}
	resigned.Header.Set("x-k8s-aws-id", request.Header.Get("x-k8s-aws-id"))
	credentials := aws.Credentials{
		AccessKeyID:     scope[0],
		SecretAccessKey: awsdouble.SecretKey,
		SessionToken:    query.Get("X-Amz-Security-Token"),
	}
	signed, _, err := v4.NewSigner().PresignHTTP(
		request.Context(), credentials, resigned, emptyPayload, "sts", scope[2], at)
	if err != nil {
		return err
	}
	expected, err := url.Parse(signed)
	if err != nil {
		return err
	}
	if expected.Query().Get("X-Amz-Signature") != query.Get("X-Amz-Signature") {
		return fmt.Errorf("the signature is not valid for cluster %q", request.Header.Get("x-k8s-aws-id"))
	}
	return nil
}

func errorResponse(request *http.Request, code, message string) (*http.Response, error) {
	return response(request, http.StatusForbidden, map[string]any{
		"Error":     map[string]string{"Code": code, "Message": message, "Type": "Sender"},
		"RequestId": "test",
	})
}

func response(request *http.Request, status int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(text)),
		Request:    request,
	}, nil
}
