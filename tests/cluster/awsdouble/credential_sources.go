package awsdouble

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// The tokens of the sources below. Every other one is refused.
const (
	ssoToken       = "valid-sso-token"
	containerToken = "valid-container-token"
	imdsToken      = "valid-imds-token"
)

// The lifetime of the credentials.
const sourceLifetime = int64(3600)

// serveCredentials answers the requests by which an SDK gets credentials without
// having any. It returns false for all other requests.
//
//   - GetRoleCredentials of IAM Identity Center, at the address of the double;
//   - AWS_CONTAINER_CREDENTIALS_FULL_URI: /container-credentials/SESSION_ARN;
//   - AWS_EC2_METADATA_SERVICE_ENDPOINT: the role `instance` of the default account.
func (d *Double) serveCredentials(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.URL.Path == "/federation/credentials":
		d.roleCredentials(w, r)
	case strings.HasPrefix(r.URL.Path, "/container-credentials/"):
		if r.Header.Get("Authorization") != containerToken {
			writeError(w, false, "", failure(http.StatusForbidden, "AccessDeniedException", "the authorization token is not valid"))
			break
		}
		d.writeCredentials(w, strings.TrimPrefix(r.URL.Path, "/container-credentials/"))
	case strings.HasPrefix(r.URL.Path, "/latest/"):
		d.instanceMetadata(w, r)
	default:
		return false
	}
	return true
}

func (d *Double) sourceCredentials(w http.ResponseWriter, arn string) (aws.Credentials, bool) {
	lifetime := sourceLifetime
	keys, err := d.Credentials(CredentialsInput{ARN: arn, ValidFor: &lifetime})
	if err != nil {
		writeError(w, false, "", failure(http.StatusBadRequest, "InvalidRequestException", "%v", err))
	}
	return keys, err == nil
}

// writeCredentials answers as the endpoints of containers and instances do.
func (d *Double) writeCredentials(w http.ResponseWriter, arn string) {
	keys, ok := d.sourceCredentials(w, arn)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{
		"Code":            "Success",
		"Type":            "AWS-HMAC",
		"AccessKeyId":     keys.AccessKeyID,
		"SecretAccessKey": keys.SecretAccessKey,
		"Token":           keys.SessionToken,
		"Expiration":      time.Now().Add(time.Duration(sourceLifetime) * time.Second).UTC().Format(time.RFC3339),
	})
}

// roleCredentials gives a session of the role that Identity Center has for a
// permission set.
func (d *Double) roleCredentials(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("x-amz-sso_bearer_token") != ssoToken {
		writeError(w, false, "", failure(http.StatusUnauthorized, "UnauthorizedException", "Session token not found or invalid"))
		return
	}
	query := r.URL.Query()
	set := query.Get("role_name")
	keys, ok := d.sourceCredentials(w, "arn:"+d.config.Partition+":sts::"+query.Get("account_id")+
		":assumed-role/AWSReservedSSO_"+set+"_0123456789abcdef/me@example.com")
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"roleCredentials": map[string]any{
		"accessKeyId":     keys.AccessKeyID,
		"secretAccessKey": keys.SecretAccessKey,
		"sessionToken":    keys.SessionToken,
		"expiration":      time.Now().Add(time.Duration(sourceLifetime) * time.Second).UnixMilli(),
	}})
}

func (d *Double) instanceMetadata(w http.ResponseWriter, r *http.Request) {
	const credentials = "/latest/meta-data/iam/security-credentials/"
	if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = w.Write([]byte(imdsToken))
		return
	}
	if r.Header.Get("X-Aws-Ec2-Metadata-Token") != imdsToken {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	switch r.URL.Path {
	case credentials:
		_, _ = w.Write([]byte("instance"))
	case credentials + "instance":
		d.writeCredentials(w, "arn:"+d.config.Partition+":sts::"+Account+":assumed-role/instance/i-0123456789abcdef0")
	case "/latest/meta-data/placement/region":
		_, _ = w.Write([]byte(d.config.Region))
	default:
		http.NotFound(w, r)
	}
}
