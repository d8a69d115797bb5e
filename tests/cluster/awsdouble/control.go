package awsdouble

import (
	"encoding/base64"
	"fmt"
	"time"
)

// Settings are what the double does differently from the first answer of AWS.
type Settings struct {
	// PageSize limits the pages of all lists. Zero: only the caller does, except for
	// lists of access entries.
	PageSize int `json:"page_size"`
	// LatencyMS delays every answer.
	LatencyMS int `json:"latency_ms"`
	// DelayMS is the time until the servers of the cluster know of a change of access
	// entries, and FlapMS the time after that in which only every other one does.
	DelayMS int `json:"delay_ms"`
	FlapMS  int `json:"flap_ms"`
	// IAMDelayMS is the time until EKS knows of a new role or user.
	IAMDelayMS int `json:"iam_delay_ms"`
	// UpdateMS is the time that a change of the mode takes, and UpdateFails makes it
	// fail at its end.
	UpdateMS    int  `json:"update_ms"`
	UpdateFails bool `json:"update_fails"`
	// Rates limit operations by their names, and with `*` all others together.
	Rates map[string]Rate `json:"rates"`
}

// ClusterInput adds a cluster, changes one, or removes one. What is null stays as it
// is, and a new cluster has the values of the default one.
type ClusterInput struct {
	// Null: those of the default cluster.
	Account *string `json:"account"`
	Region  *string `json:"region"`
	Name    *string `json:"name"`
	Deleted bool    `json:"deleted"`

	AuthenticationMode *string `json:"authentication_mode"`
	Status             *string `json:"status"`
	Version            *string `json:"version"`
	Endpoint           *string `json:"endpoint"`
	// CertificateAuthority is the base64 text of the API.
	CertificateAuthority *string `json:"certificate_authority"`
	// Details are members of `Cluster` as in the API. Null removes one.
	Details map[string]any `json:"details"`
	// Nodegroups and FargateProfiles replace all of the cluster. Each is as in the
	// API, with at least its name and role.
	Nodegroups      *[]map[string]any `json:"nodegroups"`
	FargateProfiles *[]map[string]any `json:"fargate_profiles"`
	// Creator is the ARN of the principal that made the cluster.
	Creator *string `json:"creator"`
}

// UseServer tells the double where the default cluster is.
func (d *Double) UseServer(endpoint string, authority []byte) {
	d.mu.Lock()
	d.endpoint, d.authority = endpoint, base64.StdEncoding.EncodeToString(authority)
	d.mu.Unlock()
	d.Reset()
}

// Reset restores the state of the start: the default cluster in the mode CONFIG_MAP,
// no principals, no faults, no calls.
func (d *Double) Reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.iam.reset()
	d.faults.reset()
	d.calls.take(true)
	d.throttle.set(nil)
	d.settings = Settings{}
	d.made = 0
	d.permissions = map[string]policyDocument{}
	d.clusters = map[string]*cluster{}
	owner := d.newCluster(Account, d.config.Region, d.config.ClusterName)
	d.clusters[d.defaultKey()] = owner
	d.planes = nil
	d.publish(owner)
}

func (d *Double) defaultKey() string {
	return clusterKey(Account, d.config.Region, d.config.ClusterName)
}

func (d *Double) newCluster(account, region, name string) *cluster {
	return &cluster{
		account:   account,
		region:    region,
		name:      name,
		partition: d.config.Partition,
		status:    "ACTIVE",
		mode:      "CONFIG_MAP",
		version:   "1.36",
		endpoint:  d.endpoint,
		authority: d.authority,
		created:   time.Now(),
		details:   map[string]any{},
		tags:      map[string]string{},
		entries:   map[string]*accessEntry{},
	}
}

// SetCluster changes the clusters of the double.
func (d *Double) SetCluster(input ClusterInput) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	account, region, name := Account, d.config.Region, d.config.ClusterName
	setIfGiven(&account, input.Account)
	setIfGiven(&region, input.Region)
	setIfGiven(&name, input.Name)
	key := clusterKey(account, region, name)
	if input.Deleted {
		delete(d.clusters, key)
		return struct{}{}, nil
	}
	d.finishUpdates()
	c, ok := d.clusters[key]
	if !ok {
		c = d.newCluster(account, region, name)
		d.clusters[key] = c
	}
	setIfGiven(&c.mode, input.AuthenticationMode)
	setIfGiven(&c.status, input.Status)
	setIfGiven(&c.version, input.Version)
	setIfGiven(&c.endpoint, input.Endpoint)
	setIfGiven(&c.authority, input.CertificateAuthority)
	setIfGiven(&c.nodegroups, input.Nodegroups)
	setIfGiven(&c.fargateProfiles, input.FargateProfiles)
	setIfGiven(&c.creator, input.Creator)
	for member, value := range input.Details {
		c.details[member] = value
	}
	if _, err := d.services["eks"].model.output("Cluster", "details", c.describe()); err != nil {
		return nil, fmt.Errorf("the cluster is not one of the API: %w", err)
	}
	d.publish(c)
	return map[string]string{"arn": c.arn()}, nil
}

func setIfGiven[T any](field *T, given *T) {
	if given != nil {
		*field = *given
	}
}

// SetPrincipals registers, re-creates or deletes roles and users.
func (d *Double) SetPrincipals(inputs []PrincipalInput) (any, error) {
	return d.iam.set(inputs)
}

// AddFaults adds faults to those that are not used up.
func (d *Double) AddFaults(faults []Fault) (any, error) {
	d.faults.add(faults)
	return struct{}{}, nil
}

// Calls returns the calls since the last reset, or since they were last forgotten.
func (d *Double) Calls(input struct {
	Forget bool `json:"forget"`
}) (any, error) {
	return d.calls.take(input.Forget), nil
}

// SetSettings replaces all settings.
func (d *Double) SetSettings(settings Settings) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = settings
	d.throttle.set(settings.Rates)
	return struct{}{}, nil
}
