// The authorization webhook for access policies. EKS asks it after the Node
// authorizer and before RBAC. It recognizes the principal by the extra fields of the
// authenticated user, so an impersonated user has no access policies.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"

	authorization "k8s.io/api/authorization/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	rbacauthorizer "k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"test-cluster/awsdouble"
)

// serveAccessPolicies starts the webhook and returns the path of its kubeconfig.
func serveAccessPolicies(dir string, double *awsdouble.Double) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	k := clientcmdapi.NewConfig()
	k.Clusters[programName] = &clientcmdapi.Cluster{Server: "http://" + listener.Addr().String() + "/authorize"}
	k.AuthInfos[programName] = &clientcmdapi.AuthInfo{}
	k.Contexts[programName] = &clientcmdapi.Context{Cluster: programName, AuthInfo: programName}
	k.CurrentContext = programName
	path := filepath.Join(dir, "authorization-webhook.kubeconfig")
	if err := clientcmd.WriteToFile(*k, path); err != nil {
		return "", err
	}
	go http.Serve(listener, accessPolicies{double})
	return path, nil
}

type accessPolicies struct {
	double *awsdouble.Double
}

func (p accessPolicies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review authorization.SubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reason, allowed := p.authorize(review.Spec)
	// The webhook never denies: the API server asks RBAC next.
	review.Status = authorization.SubjectAccessReviewStatus{Allowed: allowed, Reason: reason}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func (p accessPolicies) authorize(spec authorization.SubjectAccessReviewSpec) (string, bool) {
	ids, arns := spec.Extra["principalId"], spec.Extra["canonicalArn"]
	if len(ids) != 1 || len(arns) != 1 {
		return "", false
	}
	request := attributes(spec)
	for _, grant := range p.double.Grants(awsdouble.Principal{ID: ids[0], CanonicalARN: arns[0]}) {
		if !inScope(grant.Namespaces, request) {
			continue
		}
		var rules []rbac.PolicyRule
		if err := json.Unmarshal(grant.Rules, &rules); err != nil {
			// The rules of this policy are not known.
			continue
		}
		if rbacauthorizer.RulesAllow(request, rules...) {
			return fmt.Sprintf("EKS Access Policy: allowed by %s of ClusterRole %q to User %q",
				bindingName(grant, ids[0], request), grant.PolicyARN, ids[0]), true
		}
	}
	return "", false
}

func bindingName(grant awsdouble.Grant, principalID string, request authorizer.Attributes) string {
	name := principalID + "+" + grant.PolicyARN
	if grant.Namespaces == nil {
		return fmt.Sprintf("ClusterRoleBinding %q", name)
	}
	return fmt.Sprintf("RoleBinding %q", name+"/"+request.GetNamespace())
}

func attributes(spec authorization.SubjectAccessReviewSpec) authorizer.AttributesRecord {
	request := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: spec.User, Groups: spec.Groups}}
	if resource := spec.ResourceAttributes; resource != nil {
		request.ResourceRequest = true
		request.Verb = resource.Verb
		request.Namespace = resource.Namespace
		request.APIGroup = resource.Group
		request.APIVersion = resource.Version
		request.Resource = resource.Resource
		request.Subresource = resource.Subresource
		request.Name = resource.Name
	} else if other := spec.NonResourceAttributes; other != nil {
		request.Verb = other.Verb
		request.Path = other.Path
	}
	return request
}

// inScope tells whether a request is in one of the namespaces. A `*` in their names
// stands for any text, as in `dev-*`.
func inScope(namespaces []string, request authorizer.Attributes) bool {
	if namespaces == nil {
		return true
	}
	if !request.IsResourceRequest() || request.GetNamespace() == "" {
		return false
	}
	for _, pattern := range namespaces {
		expression := `\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `\z`
		if matched, err := regexp.MatchString(expression, request.GetNamespace()); err == nil && matched {
			return true
		}
	}
	return false
}
