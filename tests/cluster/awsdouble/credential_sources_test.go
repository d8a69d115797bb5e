package awsdouble

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func TestDefaultChainGetsCredentials(t *testing.T) {
	f := start(t)
	for _, test := range []struct{ want, container, instance string }{
		{dev, f.server.URL + "/container-credentials/" + url.PathEscape(dev), ""},
		{"arn:aws:sts::111122223333:assumed-role/instance/i-0123456789abcdef0", "", f.server.URL},
	} {
		for name, value := range map[string]string{
			"AWS_CONTAINER_CREDENTIALS_FULL_URI": test.container,
			"AWS_CONTAINER_AUTHORIZATION_TOKEN":  containerToken,
			"AWS_EC2_METADATA_SERVICE_ENDPOINT":  test.instance,
			"AWS_EC2_METADATA_DISABLED":          "",
			"AWS_CONFIG_FILE":                    os.DevNull,
			"AWS_SHARED_CREDENTIALS_FILE":        os.DevNull,
			"AWS_REGION":                         "eu-west-1",
			"AWS_ENDPOINT_URL":                   f.server.URL,
			"AWS_ACCESS_KEY_ID":                  "",
			"AWS_PROFILE":                        "",
		} {
			t.Setenv(name, value)
		}
		chain, err := config.LoadDefaultConfig(f.ctx)
		f.ok(err)
		caller, err := sts.NewFromConfig(chain).GetCallerIdentity(f.ctx, &sts.GetCallerIdentityInput{})
		f.ok(err)
		equal(f, *caller.Arn, test.want)
	}
}

func TestIdentityCenterGivesSessions(t *testing.T) {
	f := start(t)
	for token, want := range map[string]string{ssoToken: `"secretAccessKey":"` + SecretKey + `"`, "expired": "Session token not found or invalid"} {
		request, err := http.NewRequest("GET", f.server.URL+"/federation/credentials?account_id=111122223333&role_name=Admin", nil)
		f.ok(err)
		request.Header.Set("x-amz-sso_bearer_token", token)
		response, err := http.DefaultClient.Do(request)
		f.ok(err)
		text, err := io.ReadAll(response.Body)
		f.ok(err)
		f.ok(response.Body.Close())
		if !strings.Contains(string(text), want) {
			f.Fatalf("%d %s", response.StatusCode, text)
		}
	}
}
