package awsdouble

import (
	"maps"
	"sort"
	"strings"
	"time"
)

// cluster is what EKS keeps of a cluster.
type cluster struct {
	account, region, name string
	partition             string
	status, mode          string
	version               string
	endpoint, authority   string
	created               time.Time
	// details are added to the answer of DescribeCluster. Null removes a member.
	details         map[string]any
	nodegroups      []map[string]any
	fargateProfiles []map[string]any
	// creator is the ARN of the principal that made the cluster, or empty.
	creator string
	tags    map[string]string
	entries map[string]*accessEntry
	updates []*update
}

func (c *cluster) arn() string {
	return strings.Join([]string{"arn", c.partition, "eks", c.region, c.account, "cluster/" + c.name}, ":")
}

func (d *Double) eksHandlers() map[string]handler {
	return map[string]handler{
		"DescribeCluster":        d.describeCluster,
		"ListClusters":           d.listClusters,
		"ListNodegroups":         d.listNodegroups,
		"DescribeNodegroup":      d.describeNodegroup,
		"ListFargateProfiles":    d.listFargateProfiles,
		"DescribeFargateProfile": d.describeFargateProfile,

		"CreateAccessEntry":            d.createAccessEntry,
		"DescribeAccessEntry":          d.describeAccessEntry,
		"UpdateAccessEntry":            d.updateAccessEntry,
		"DeleteAccessEntry":            d.deleteAccessEntry,
		"ListAccessEntries":            d.listAccessEntries,
		"AssociateAccessPolicy":        d.associateAccessPolicy,
		"DisassociateAccessPolicy":     d.disassociateAccessPolicy,
		"ListAssociatedAccessPolicies": d.listAssociatedAccessPolicies,
		"ListAccessPolicies":           d.listAccessPolicies,
		"TagResource":                  d.tagResource,
		"UntagResource":                d.untagResource,
		"ListTagsForResource":          d.listTagsForResource,
		"UpdateClusterConfig":          d.updateClusterConfig,
		"DescribeUpdate":               d.describeUpdate,
	}
}

// cluster returns the cluster that a call names, in the account of the caller and
// the region of the request.
func (d *Double) cluster(c *call, member string) (*cluster, *apiError) {
	name := c.input[member].(string)
	found, ok := d.clusters[clusterKey(c.principal.Account, c.region, name)]
	if !ok {
		return nil, notFound("No cluster found for name: %s.", name)
	}
	return found, nil
}

func clusterKey(account, region, name string) string {
	return account + "/" + region + "/" + name
}

func (d *Double) describeCluster(c *call) (map[string]any, *apiError) {
	found, failed := d.cluster(c, "name")
	if failed != nil {
		return nil, failed
	}
	return map[string]any{"cluster": found.describe()}, nil
}

func (c *cluster) describe() map[string]any {
	output := map[string]any{
		"name":            c.name,
		"arn":             c.arn(),
		"createdAt":       c.created,
		"version":         c.version,
		"platformVersion": "eks.1",
		"status":          c.status,
		"roleArn":         "arn:" + c.partition + ":iam::" + c.account + ":role/eks-cluster-role",
		"resourcesVpcConfig": map[string]any{
			"subnetIds":              []string{"subnet-0a", "subnet-0b"},
			"securityGroupIds":       []string{},
			"clusterSecurityGroupId": "sg-0a",
			"vpcId":                  "vpc-0a",
			"endpointPublicAccess":   true,
			"endpointPrivateAccess":  false,
			"publicAccessCidrs":      []string{"0.0.0.0/0"},
		},
		"kubernetesNetworkConfig": map[string]any{"serviceIpv4Cidr": "10.0.0.0/24", "ipFamily": "ipv4"},
		"logging":                 map[string]any{"clusterLogging": []any{}},
		"accessConfig":            map[string]any{"authenticationMode": c.mode},
		"certificateAuthority":    map[string]any{},
		"health":                  map[string]any{"issues": []any{}},
		"tags":                    c.tags,
	}
	// EKS returns both only after it has made the control plane.
	if c.status != "CREATING" {
		output["endpoint"] = c.endpoint
		output["certificateAuthority"] = map[string]any{"data": c.authority}
	}
	maps.Copy(output, c.details)
	maps.DeleteFunc(output, func(_ string, value any) bool { return value == nil })
	return output
}

func (d *Double) listClusters(c *call) (map[string]any, *apiError) {
	var names []string
	for _, key := range sortedKeys(d.clusters) {
		if found := d.clusters[key]; found.account == c.principal.Account && found.region == c.region {
			names = append(names, found.name)
		}
	}
	return d.listOutput(c, "clusters", orEmpty(names))
}

func (d *Double) listNodegroups(c *call) (map[string]any, *apiError) {
	found, failed := d.cluster(c, "clusterName")
	if failed != nil {
		return nil, failed
	}
	return d.listOutput(c, "nodegroups", namesOf(found.nodegroups, "nodegroupName"))
}

func (d *Double) describeNodegroup(c *call) (map[string]any, *apiError) {
	found, failed := d.cluster(c, "clusterName")
	if failed != nil {
		return nil, failed
	}
	for _, group := range found.nodegroups {
		if group["nodegroupName"] == c.input["nodegroupName"] {
			output := map[string]any{"clusterName": found.name, "status": "ACTIVE", "version": found.version}
			maps.Copy(output, group)
			return map[string]any{"nodegroup": output}, nil
		}
	}
	return nil, notFound("No node group found for name: %s.", c.input["nodegroupName"])
}

func (d *Double) listFargateProfiles(c *call) (map[string]any, *apiError) {
	found, failed := d.cluster(c, "clusterName")
	if failed != nil {
		return nil, failed
	}
	return d.listOutput(c, "fargateProfileNames", namesOf(found.fargateProfiles, "fargateProfileName"))
}

func (d *Double) describeFargateProfile(c *call) (map[string]any, *apiError) {
	found, failed := d.cluster(c, "clusterName")
	if failed != nil {
		return nil, failed
	}
	for _, profile := range found.fargateProfiles {
		if profile["fargateProfileName"] == c.input["fargateProfileName"] {
			output := map[string]any{"clusterName": found.name, "status": "ACTIVE"}
			maps.Copy(output, profile)
			return map[string]any{"fargateProfile": output}, nil
		}
	}
	return nil, notFound("No Fargate Profile found with name: %s.", c.input["fargateProfileName"])
}

func namesOf(objects []map[string]any, member string) []string {
	names := make([]string, len(objects))
	for i, object := range objects {
		names[i], _ = object[member].(string)
	}
	sort.Strings(names)
	return names
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
