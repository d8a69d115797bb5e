package awsdouble

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// accessEntry is never modified: a change replaces it by a copy, because the control
// plane may still see the old one.
type accessEntry struct {
	arn, principalARN string
	// principalID is the unique ID that the principal had when the entry was made.
	// No call returns it. A role that is created again has another one.
	principalID string
	kind        string
	username    string
	groups      []string
	tags        map[string]string
	created     time.Time
	modified    time.Time
	// token and request recognize a repeated CreateAccessEntry.
	token, request string
	associations   map[string]association
}

func (d *Double) createAccessEntry(c *call) (map[string]any, *apiError) {
	arn := c.input["principalArn"].(string)
	kind, ok := c.input["type"].(string)
	if !ok {
		kind = standard
	}
	for _, failed := range []*apiError{
		checkPrincipal(arn),
		checkType(kind, arn, c.principal.Account),
		checkIdentity(kind, c.input),
	} {
		if failed != nil {
			return nil, failed
		}
	}
	owner, failed := d.clusterWithEntries(c)
	if failed != nil {
		return nil, failed
	}
	token, _ := c.input["clientRequestToken"].(string)
	if known := owner.entries[arn]; known != nil {
		if token != "" && known.token == token && known.request == requestText(c) {
			return map[string]any{"accessEntry": known.describe(owner)}, nil
		}
		return nil, failure(http.StatusConflict, "ResourceInUseException",
			"The specified access entry resource is already in use on this cluster.")
	}
	principalID, exists := d.principalID(arn)
	if !exists {
		return nil, invalidParameter("The specified principalArn is invalid: invalid principal.")
	}
	if len(owner.entries) >= maxEntries {
		return nil, failure(http.StatusBadRequest, "ResourceLimitExceededException",
			"The maximum number of access entries is reached: %d", maxEntries)
	}
	tags, failed := newTags(nil, c.input["tags"])
	if failed != nil {
		return nil, invalidParameter("%s", failed.message)
	}
	e := d.newEntry(owner, arn, principalID, kind)
	e.setIdentity(c.input)
	e.tags, e.token, e.request = tags, token, requestText(c)
	d.store(owner, e)
	return map[string]any{"accessEntry": e.describe(owner)}, nil
}

func requestText(c *call) string {
	text, _ := json.Marshal(c.input)
	return string(text)
}

func (d *Double) newEntry(owner *cluster, arn, principalID, kind string) *accessEntry {
	d.made++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", arn, d.made))
	parsed, _ := awsarn.Parse(arn)
	category, name, ok := strings.Cut(parsed.Resource, "/")
	if !ok {
		// The root user of an account.
		name = category
	}
	now := d.now()
	e := &accessEntry{
		arn: fmt.Sprintf("arn:%s:eks:%s:%s:access-entry/%s/%s/%s/%s/%x-%x-%x-%x-%x", owner.partition, owner.region, owner.account,
			owner.name, category, parsed.AccountID, name[strings.LastIndex(name, "/")+1:],
			sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		principalARN: arn,
		principalID:  principalID,
		kind:         kind,
		created:      now,
		modified:     now,
		tags:         map[string]string{},
		associations: map[string]association{},
	}
	e.username, e.groups = defaultIdentity(kind, arn)
	return e
}

// setIdentity sets what a request has, and the default for what it leaves out: an
// update is not a patch.
func (e *accessEntry) setIdentity(input map[string]any) {
	e.username, e.groups = defaultIdentity(e.kind, e.principalARN)
	if username, ok := input["username"].(string); ok && username != "" {
		e.username = username
	}
	if groups, ok := input["kubernetesGroups"]; ok && e.kind == standard {
		e.groups = texts(groups)
	}
}

func (e *accessEntry) clone() *accessEntry {
	other := *e
	other.groups = slices.Clone(e.groups)
	other.tags = maps.Clone(e.tags)
	other.associations = maps.Clone(e.associations)
	return &other
}

func (e *accessEntry) describe(owner *cluster) map[string]any {
	return map[string]any{
		"clusterName":      owner.name,
		"principalArn":     e.principalARN,
		"kubernetesGroups": e.groups,
		"accessEntryArn":   e.arn,
		"createdAt":        e.created,
		"modifiedAt":       e.modified,
		"tags":             e.tags,
		"username":         e.username,
		"type":             e.kind,
	}
}

func (d *Double) describeAccessEntry(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	return map[string]any{"accessEntry": e.describe(owner)}, nil
}

func (d *Double) updateAccessEntry(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	if failed := checkIdentity(e.kind, c.input); failed != nil {
		return nil, failed
	}
	e = e.clone()
	e.setIdentity(c.input)
	e.modified = d.now()
	d.store(owner, e)
	return map[string]any{"accessEntry": e.describe(owner)}, nil
}

func (d *Double) deleteAccessEntry(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.entry(c)
	if failed != nil {
		return nil, failed
	}
	delete(owner.entries, e.principalARN)
	d.publish(owner)
	return map[string]any{}, nil
}

func (d *Double) listAccessEntries(c *call) (map[string]any, *apiError) {
	owner, failed := d.clusterWithEntries(c)
	if failed != nil {
		return nil, failed
	}
	arns := []string{}
	policy, filtered := c.input["associatedPolicyArn"].(string)
	for _, arn := range sortedKeys(owner.entries) {
		if _, associated := owner.entries[arn].associations[policy]; associated || !filtered {
			arns = append(arns, arn)
		}
	}
	return d.listOutput(c, "accessEntries", arns)
}

// clusterWithEntries returns the cluster of a call if its mode has access entries.
func (d *Double) clusterWithEntries(c *call) (*cluster, *apiError) {
	owner, failed := d.cluster(c, "clusterName")
	if failed != nil {
		return nil, failed
	}
	if owner.mode == "CONFIG_MAP" {
		return nil, invalidRequest("The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.")
	}
	return owner, nil
}

func (d *Double) entry(c *call) (*cluster, *accessEntry, *apiError) {
	owner, failed := d.clusterWithEntries(c)
	if failed != nil {
		return nil, nil, failed
	}
	arn := c.input["principalArn"].(string)
	if !strings.HasPrefix(arn, "arn:") {
		// The model has no such error for DescribeAccessEntry, but AWS returns it.
		return nil, nil, invalidParameter("The principalArn parameter format is not valid")
	}
	e := owner.entries[arn]
	if e == nil {
		return nil, nil, notFound("The specified principalArn could not be found. You can view your available access entries with 'list-access-entries'.")
	}
	return owner, e, nil
}

func (d *Double) store(owner *cluster, e *accessEntry) {
	owner.entries[e.principalARN] = e
	d.publish(owner)
}
