// Asks the authenticator about an identity the way the API server does, and
// its mapper for the entry behind the answer.
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
)

type mapped struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
	UID      string   `json:"uid"`
	// The entry as the mapper holds it, templates unrendered; null where the
	// account alone let the caller in.
	Entry *entry `json:"entry"`
}

type entry struct {
	Username string   `json:"username"`
	Groups   []string `json:"groups"`
}

func (a *authenticator) mapARN(o options, sessionARN string) (*mapped, error) {
	_, canonical, err := arn.Canonicalize(sessionARN)
	if err != nil {
		return nil, err
	}
	var found *entry
	mapping, err := a.mapper.Map(&token.Identity{ARN: sessionARN, CanonicalARN: canonical})
	if err == nil {
		found = &entry{Username: mapping.Username, Groups: orEmpty(mapping.Groups)}
	}
	bearer, err := tokenFor(o, sessionARN)
	if err != nil {
		return nil, err
	}
	user, status := a.review(bearer)
	if user == nil && found == nil {
		return nil, errutil.ErrNotMapped
	}
	if user == nil {
		return nil, fmt.Errorf("mapped to username %q, then refused with status %d", found.Username, status)
	}
	return &mapped{Username: user.Username, Groups: orEmpty(user.Groups), UID: user.UID, Entry: found}, nil
}

func (a *authenticator) review(bearer string) (*authentication.UserInfo, int) {
	body, err := json.Marshal(authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: bearer}})
	if err != nil {
		return nil, http.StatusInternalServerError
	}
	recorder := httptest.NewRecorder()
	a.handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/authenticate", bytes.NewReader(body)))
	var answer authentication.TokenReview
	if json.Unmarshal(recorder.Body.Bytes(), &answer) != nil || !answer.Status.Authenticated {
		return nil, recorder.Code
	}
	return &answer.Status.User, recorder.Code
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
