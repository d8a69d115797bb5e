package awsdouble

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The time that a change of the mode takes if no setting says otherwise. On AWS it
// takes a few minutes.
const defaultUpdateTime = 200 * time.Millisecond

// update is a change of the configuration of a cluster, which has its effect later.
type update struct {
	id, status string
	mode       string
	created    time.Time
	ends       time.Time
	fails      bool
}

func (u *update) describe() map[string]any {
	return map[string]any{
		"id":     u.id,
		"status": u.status,
		"type":   "AccessConfigUpdate",
		// The value is JSON text.
		"params":    []any{map[string]any{"type": "AuthenticationMode", "value": fmt.Sprintf("%q", u.mode)}},
		"createdAt": u.created,
		"errors":    []any{},
	}
}

// updateClusterConfig changes the authentication mode. The double has no other
// configuration that can be changed.
func (d *Double) updateClusterConfig(c *call) (map[string]any, *apiError) {
	owner, failed := d.cluster(c, "name")
	if failed != nil {
		return nil, failed
	}
	config, _ := c.input["accessConfig"].(map[string]any)
	mode, ok := config["authenticationMode"].(string)
	if !ok {
		return nil, invalidParameter("No changes needed for the configuration that the double has: accessConfig")
	}
	for _, running := range owner.updates {
		if running.status == "InProgress" {
			return nil, failure(http.StatusConflict, "ResourceInUseException",
				"Cannot AccessConfigUpdate because cluster %s currently has update %s in progress", owner.name, running.id)
		}
	}
	if owner.status != "ACTIVE" {
		return nil, failure(http.StatusConflict, "ResourceInUseException",
			"Cannot AccessConfigUpdate because cluster %s is in status %s", owner.name, owner.status)
	}
	switch owner.mode + " " + mode {
	case "CONFIG_MAP API_AND_CONFIG_MAP", "API_AND_CONFIG_MAP API":
	default:
		return nil, invalidParameter("Unsupported authentication mode update from %s to %s", owner.mode, mode)
	}
	span := defaultUpdateTime
	if d.settings.UpdateMS > 0 {
		span = time.Duration(d.settings.UpdateMS) * time.Millisecond
	}
	d.made++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", owner.name, d.made))
	u := &update{
		id:      fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		status:  "InProgress",
		mode:    mode,
		created: d.now(),
		ends:    d.now().Add(span),
		fails:   d.settings.UpdateFails,
	}
	owner.updates = append(owner.updates, u)
	owner.status = "UPDATING"
	return map[string]any{"update": u.describe()}, nil
}

func (d *Double) describeUpdate(c *call) (map[string]any, *apiError) {
	owner, failed := d.cluster(c, "name")
	if failed != nil {
		return nil, failed
	}
	for _, u := range owner.updates {
		if u.id == c.input["updateId"] {
			return map[string]any{"update": u.describe()}, nil
		}
	}
	return nil, notFound("No update found for ID: %s", c.input["updateId"])
}

// finishUpdates gives effect to the updates that have ended. It runs before
// everything that looks at the clusters.
func (d *Double) finishUpdates() {
	for _, owner := range d.clusters {
		for _, u := range owner.updates {
			if u.status != "InProgress" || d.now().Before(u.ends) {
				continue
			}
			owner.status = "ACTIVE"
			if u.fails {
				// AWS gives no reason.
				u.status = "Failed"
				continue
			}
			u.status = "Successful"
			if owner.mode == "CONFIG_MAP" {
				d.addEntriesOfEKS(owner)
			}
			owner.mode = u.mode
			d.publish(owner)
		}
	}
}

// addEntriesOfEKS adds the entries that EKS makes at the change to API_AND_CONFIG_MAP:
// those of the creator, the managed node groups and the Fargate profiles.
func (d *Double) addEntriesOfEKS(owner *cluster) {
	add := func(arn, kind string) *accessEntry {
		if arn == "" || owner.entries[arn] != nil {
			return nil
		}
		id, _ := d.principalID(arn)
		e := d.newEntry(owner, arn, id, kind)
		owner.entries[arn] = e
		return e
	}
	if e := add(owner.creator, standard); e != nil {
		policy := d.policyARN("AmazonEKSClusterAdminPolicy")
		e.associations[policy] = e.associate(policy, "cluster", []string{}, d.now())
	}
	for _, group := range owner.nodegroups {
		role, _ := group["nodeRole"].(string)
		image, _ := group["amiType"].(string)
		if strings.HasPrefix(image, "WINDOWS_") {
			add(role, "EC2_WINDOWS")
		} else {
			add(role, "EC2_LINUX")
		}
	}
	for _, profile := range owner.fargateProfiles {
		role, _ := profile["podExecutionRoleArn"].(string)
		add(role, "FARGATE_LINUX")
	}
}
