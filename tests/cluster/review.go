// Authenticates an identity through the TokenReview webhook of the authenticator,
// as the API server does, and looks up the entry that it was mapped by.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	authentication "k8s.io/api/authentication/v1beta1"
	"sigs.k8s.io/aws-iam-authenticator/pkg/arn"
	"sigs.k8s.io/aws-iam-authenticator/pkg/errutil"
	"sigs.k8s.io/aws-iam-authenticator/pkg/token"

	"test-cluster/awsdouble"
)

type mappedUser struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	UID      string   `json:"uid"`
	// The entry before its templates are rendered. Null if the identity is only
	// mapped by mapAccounts.
	Entry *entry              `json:"entry"`
	Extra map[string][]string `json:"extra"`
}

type entry struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	// AccessEntries or EKSConfigMap.
	Backend string `json:"backend"`
}

func (a *authenticator) mapARN(o options, double *awsdouble.Double, sessionARN string) (*mappedUser, error) {
	_, canonical, err := arn.Canonicalize(sessionARN)
	if err != nil {
		return nil, err
	}
	principalID, err := double.PrincipalID(sessionARN)
	if err != nil {
		return nil, err
	}
	var matched *entry
	for _, m := range a.mappers {
		mapping, err := m.Map(&token.Identity{ARN: sessionARN, CanonicalARN: canonical, UserID: principalID})
		if err == nil {
			matched = &entry{Username: mapping.Username, Groups: orEmpty(mapping.Groups), Backend: m.Name()}
			break
		}
	}
	bearer, err := tokenFor(o, double, sessionARN)
	if err != nil {
		return nil, err
	}
	user, status := a.review(bearer)
	if user == nil && matched == nil {
		return nil, errutil.ErrNotMapped
	}
	if user == nil {
		return nil, fmt.Errorf("mapped to username %q, but rejected with status %d", matched.Username, status)
	}
	extra := map[string][]string{}
	for key, values := range user.Extra {
		extra[key] = values
	}
	return &mappedUser{Username: user.Username, Groups: orEmpty(user.Groups), UID: user.UID, Entry: matched, Extra: extra}, nil
}

func (a *authenticator) review(bearer string) (*authentication.UserInfo, int) {
	body, err := json.Marshal(authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: bearer}})
	if err != nil {
		return nil, http.StatusInternalServerError
	}
	recorder := httptest.NewRecorder()
	a.handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/authenticate", bytes.NewReader(body)))
	var review authentication.TokenReview
	if json.Unmarshal(recorder.Body.Bytes(), &review) != nil || !review.Status.Authenticated {
		return nil, recorder.Code
	}
	return &review.Status.User, recorder.Code
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
