package awsdouble

import (
	"encoding/json"
	"strings"
	"time"

	awsarn "github.com/aws/aws-sdk-go-v2/aws/arn"
)

// controlPlane is what the servers of the default cluster know of its access
// entries. They learn of a change later than its caller, as on AWS.
type controlPlane struct {
	at   time.Time
	mode string
	// creator is the unique ID of the principal that made the cluster. In the mode
	// CONFIG_MAP it may do everything, and no call shows that.
	creator string
	// The entries by the unique IDs of their principals.
	entries map[string]*accessEntry
}

// publish records the state of the default cluster for its servers.
func (d *Double) publish(owner *cluster) {
	if d.clusters[d.defaultKey()] != owner {
		return
	}
	now := controlPlane{at: d.now(), mode: owner.mode, entries: map[string]*accessEntry{}}
	for _, e := range owner.entries {
		now.entries[e.principalID] = e
	}
	if owner.creator != "" {
		now.creator, _ = d.principalID(owner.creator)
	}
	d.planes = append(d.planes, now)
	// All but the last of those that every server knows are forgotten.
	known := d.now().Add(-d.settings.delay() - d.settings.flap())
	for len(d.planes) > 1 && d.planes[1].at.Before(known) {
		d.planes = d.planes[1:]
	}
}

// seen returns what the next server to be asked knows. While a change spreads,
// every other answer is from a server that does not know it.
func (d *Double) seen() controlPlane {
	d.finishUpdates()
	at := d.now().Add(-d.settings.delay())
	d.asked++
	if d.asked%2 == 0 {
		at = at.Add(-d.settings.flap())
	}
	found := d.planes[0]
	for _, plane := range d.planes {
		if !plane.at.After(at) {
			found = plane
		}
	}
	return found
}

func (s *Settings) delay() time.Duration { return time.Duration(s.DelayMS) * time.Millisecond }
func (s *Settings) flap() time.Duration  { return time.Duration(s.FlapMS) * time.Millisecond }

// EntryIdentity returns the username and the groups that the access entry of a
// principal gives it, before their templates are rendered.
func (d *Double) EntryIdentity(p Principal) (username string, groups []string, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	plane := d.seen()
	if plane.isHiddenAdmin(p) {
		return "kubernetes-admin", []string{}, true
	}
	e := plane.entry(p)
	if e == nil {
		return "", nil, false
	}
	return e.username, e.groups, true
}

// Principal is what the authenticator knows of a caller. Both must match an entry: the
// unique ID of a federated user is that of its account.
type Principal struct {
	ID           string
	CanonicalARN string
}

func (p *controlPlane) isHiddenAdmin(caller Principal) bool {
	return p.mode == "CONFIG_MAP" && p.creator != "" && p.creator == caller.ID
}

func (p *controlPlane) entry(caller Principal) *accessEntry {
	e := p.entries[caller.ID]
	if p.mode == "CONFIG_MAP" || e == nil || !strings.EqualFold(withoutRolePath(e.principalARN), caller.CanonicalARN) {
		return nil
	}
	return e
}

// withoutRolePath returns the canonical form of the ARN of a role, in which STS shows
// no path.
func withoutRolePath(arn string) string {
	prefix, name, ok := strings.Cut(arn, ":role/")
	if !ok {
		return arn
	}
	return prefix + ":role/" + name[strings.LastIndex(name, "/")+1:]
}

// ReadsConfigMap tells whether the cluster reads aws-auth.
func (d *Double) ReadsConfigMap() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen().mode != "API"
}

// Grant is an access policy that is associated with the entry of a principal.
type Grant struct {
	PolicyARN string
	// Rules are RBAC rules in JSON, or null if they are not known.
	Rules json.RawMessage
	// Namespaces are patterns. Null: the whole cluster.
	Namespaces []string
}

// Grants returns the access policies of a principal.
func (d *Double) Grants(p Principal) []Grant {
	d.mu.Lock()
	defer d.mu.Unlock()
	plane := d.seen()
	if plane.isHiddenAdmin(p) {
		return []Grant{{Rules: accessPolicies["AmazonEKSClusterAdminPolicy"].Rules}}
	}
	e := plane.entry(p)
	if e == nil {
		return nil
	}
	var grants []Grant
	for _, policy := range sortedKeys(e.associations) {
		a := e.associations[policy]
		grant := Grant{PolicyARN: policy, Rules: accessPolicies[policy[strings.LastIndex(policy, "/")+1:]].Rules}
		if a.scope == "namespace" {
			grant.Namespaces = a.namespaces
		}
		grants = append(grants, grant)
	}
	return grants
}

// principalID returns the unique ID that a principal has now, and whether IAM has
// told EKS of it. The ID of a principal that is not registered is derived.
func (d *Double) principalID(arn string) (string, bool) {
	parsed, err := awsarn.Parse(arn)
	if err != nil {
		return "", false
	}
	if parsed.Resource == "root" {
		return parsed.AccountID, true
	}
	kind, rest, _ := strings.Cut(parsed.Resource, "/")
	if p := d.iam.get(parsed.AccountID, kind, rest[strings.LastIndex(rest, "/")+1:]); p != nil {
		visible := d.now().Sub(p.Created) >= time.Duration(d.settings.IAMDelayMS)*time.Millisecond
		return p.ID, p.ARN == arn && visible
	}
	p, err := newPrincipal(PrincipalInput{ARN: arn})
	if err != nil {
		return "", false
	}
	return p.ID, false
}
