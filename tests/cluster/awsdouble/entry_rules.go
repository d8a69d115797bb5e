package awsdouble

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// The types of access entries. The list of AWS grows.
const standard = "STANDARD"

var (
	nodeTypes  = []string{"EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "EC2", "HYPERPOD_LINUX"}
	entryTypes = append([]string{standard}, nodeTypes...)
	// The text of AWS names these.
	nodeTypesInErrors = "[EC2_LINUX, EC2_WINDOWS, FARGATE_LINUX, HYBRID_LINUX, EC2]"
	reservedPrefixes  = []string{"system:", "eks:", "aws:", "amazon:", "iam:"}
	principalForm     = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:(root|(role|user)/[\w+=,.@/-]+)$`)
)

// maxEntries is the limit of a cluster in the General Reference of AWS.
const maxEntries = 3000

// checkPrincipal has the checks of CreateAccessEntry that AWS makes before it looks
// up the cluster.
func checkPrincipal(arn string) *apiError {
	if !principalForm.MatchString(arn) {
		return invalidParameter("The principalArn parameter format is not valid")
	}
	if strings.Contains(arn, ":role/aws-service-role/") {
		return invalidParameter("The caller is not allowed to modify access entries with a principalArn value of a Service Linked Role")
	}
	return nil
}

func checkType(kind, arn, account string) *apiError {
	if !slices.Contains(entryTypes, kind) {
		return invalidParameter("AccessEntry type must be one of [%s]", strings.Join(entryTypes, ", "))
	}
	if kind == standard {
		return nil
	}
	parsed, _ := awsarn.Parse(arn)
	if !strings.HasPrefix(parsed.Resource, "role/") {
		return invalidParameter("AccessEntry principalArn must be IAM role when using types %s", nodeTypesInErrors)
	}
	if parsed.AccountID != account {
		return invalidParameter("AccessEntry principalArn must be from the same account as the cluster when using types %s", nodeTypesInErrors)
	}
	return nil
}

// checkIdentity checks the username and the groups of a request. Node entries may
// have neither.
func checkIdentity(kind string, input map[string]any) *apiError {
	username, hasUsername := input["username"].(string)
	groups := texts(input["kubernetesGroups"])
	if kind != standard && len(groups) > 0 {
		return invalidParameter("The specified kubernetesGroups is invalid: setting kubernetesGroups is not allowed when the type is %q", kind)
	}
	if kind != standard && hasUsername {
		return invalidParameter("The specified username is invalid: setting username is not allowed when the type is %q", kind)
	}
	for _, prefix := range reservedPrefixes {
		if strings.HasPrefix(username, prefix) {
			return invalidParameter("The username must not begin with %s", prefix)
		}
		for _, group := range groups {
			if strings.HasPrefix(group, prefix) {
				return invalidParameter("The kubernetes group name %s is invalid, it cannot start with %s", group, prefix)
			}
		}
	}
	// The rule is documented without its text. It excludes usernames that a session
	// name can choose as a whole.
	if before, _, ok := strings.Cut(username, "{{SessionName}}"); ok && !strings.Contains(before, ":") {
		return invalidParameter("The specified username is invalid: it must contain a colon before {{SessionName}}")
	}
	return nil
}

// defaultIdentity returns the username and the groups of an entry whose request has
// none.
func defaultIdentity(kind, arn string) (string, []string) {
	switch kind {
	case "EC2_LINUX", "EC2":
		return "system:node:{{EC2PrivateDNSName}}", []string{"system:nodes"}
	case "EC2_WINDOWS":
		return "system:node:{{EC2PrivateDNSName}}", []string{"system:nodes", "eks:kube-proxy-windows"}
	case "FARGATE_LINUX", "HYBRID_LINUX", "HYPERPOD_LINUX":
		return "system:node:{{SessionName}}", []string{"system:nodes"}
	}
	parsed, _ := awsarn.Parse(arn)
	name, isRole := strings.CutPrefix(parsed.Resource, "role/")
	if !isRole {
		return arn, []string{}
	}
	return fmt.Sprintf("arn:%s:sts::%s:assumed-role/%s/{{SessionName}}",
		parsed.Partition, parsed.AccountID, name[strings.LastIndex(name, "/")+1:]), []string{}
}

// texts returns a list of strings of an input. A list that is left out is empty.
func texts(value any) []string {
	list, _ := value.([]any)
	out := make([]string, len(list))
	for i, element := range list {
		out[i], _ = element.(string)
	}
	return out
}
