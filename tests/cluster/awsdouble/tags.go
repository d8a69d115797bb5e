package awsdouble

import (
	"maps"
	"net/http"
	"strings"
)

const maxTags = 50

// newTags returns old tags with those of an input, or a BadRequestException.
func newTags(old map[string]string, input any) (map[string]string, *apiError) {
	tags := map[string]string{}
	maps.Copy(tags, old)
	given, _ := input.(map[string]any)
	for key, value := range given {
		if strings.HasPrefix(strings.ToLower(key), "aws:") {
			return nil, failure(http.StatusBadRequest, "BadRequestException", "aws: prefixed tag key names are not allowed for external use.")
		}
		tags[key], _ = value.(string)
	}
	if len(tags) > maxTags {
		return nil, failure(http.StatusBadRequest, "BadRequestException", "The number of tags exceeds the limit of %d", maxTags)
	}
	return tags, nil
}

// tagged finds the entry or the cluster with an ARN. The entry is nil for a cluster.
func (d *Double) tagged(c *call) (*cluster, *accessEntry, *apiError) {
	arn := c.input["resourceArn"].(string)
	for _, owner := range d.clusters {
		if owner.account != c.principal.Account || owner.region != c.region {
			continue
		}
		if owner.arn() == arn {
			return owner, nil, nil
		}
		for _, e := range owner.entries {
			if e.arn == arn {
				return owner, e, nil
			}
		}
	}
	return nil, nil, failure(http.StatusNotFound, "NotFoundException", "The specified resource could not be found.")
}

// changeTags replaces the tags of a resource by what change makes of them.
func (d *Double) changeTags(c *call, change func(map[string]string) (map[string]string, *apiError)) (map[string]any, *apiError) {
	owner, e, failed := d.tagged(c)
	if failed != nil {
		return nil, failed
	}
	old := owner.tags
	if e != nil {
		old = e.tags
	}
	tags, failed := change(old)
	if failed != nil {
		return nil, failed
	}
	if e == nil {
		owner.tags = tags
		return map[string]any{}, nil
	}
	e = e.clone()
	e.tags = tags
	d.store(owner, e)
	return map[string]any{}, nil
}

func (d *Double) tagResource(c *call) (map[string]any, *apiError) {
	return d.changeTags(c, func(old map[string]string) (map[string]string, *apiError) {
		return newTags(old, c.input["tags"])
	})
}

func (d *Double) untagResource(c *call) (map[string]any, *apiError) {
	return d.changeTags(c, func(old map[string]string) (map[string]string, *apiError) {
		tags := maps.Clone(old)
		for _, key := range texts(c.input["tagKeys"]) {
			delete(tags, key)
		}
		return tags, nil
	})
}

func (d *Double) listTagsForResource(c *call) (map[string]any, *apiError) {
	owner, e, failed := d.tagged(c)
	if failed != nil {
		return nil, failed
	}
	if e == nil {
		return map[string]any{"tags": owner.tags}, nil
	}
	return map[string]any{"tags": e.tags}, nil
}
