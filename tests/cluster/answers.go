// What identities may do: each is authenticated by the authenticator, and its requests
// are put to the API server as SubjectAccessReviews.
package main

import (
	"slices"
	"strings"

	authentication "k8s.io/api/authentication/v1beta1"
	authorization "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// askedRequests are requests of identities, which are ARNs of STS.
type askedRequests struct {
	Identities []string `json:"identities"`
	// Requests have only the attributes of a SubjectAccessReview.
	Requests []authorization.SubjectAccessReviewSpec `json:"requests"`
}

// answers returns a text for each identity, which has a letter for each request: y
// (allowed), n (denied), or - if the identity is not authenticated.
func (c *control) answers(input askedRequests) (any, error) {
	answers := make([]string, len(input.Identities))
	for i, identity := range input.Identities {
		bearer, err := tokenFor(c.options, c.aws, identity)
		if err != nil {
			return nil, err
		}
		user, _ := c.authenticator.review(bearer)
		if answers[i], err = c.answersFor(user, input.Requests); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// answersFor answers for a user that is nil if it is not authenticated.
func (c *control) answersFor(user *authentication.UserInfo, requests []authorization.SubjectAccessReviewSpec) (string, error) {
	var answers strings.Builder
	for _, request := range requests {
		if user == nil {
			answers.WriteByte('-')
			continue
		}
		allowed, err := c.isAllowed(user, request)
		if err != nil {
			return "", err
		}
		answers.WriteByte(map[bool]byte{true: 'y', false: 'n'}[allowed])
	}
	return answers.String(), nil
}

func (c *control) isAllowed(user *authentication.UserInfo, request authorization.SubjectAccessReviewSpec) (bool, error) {
	request.User, request.UID = user.Username, user.UID
	request.Groups = slices.Concat(user.Groups, []string{"system:authenticated"})
	request.Extra = map[string]authorization.ExtraValue{}
	for key, values := range user.Extra {
		request.Extra[key] = authorization.ExtraValue(values)
	}
	ctx, cancel := requestContext()
	defer cancel()
	review, err := c.client.AuthorizationV1().SubjectAccessReviews().Create(
		ctx, &authorization.SubjectAccessReview{Spec: request}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
