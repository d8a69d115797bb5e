package awsdouble

import (
	"encoding/base64"
	"net/http"
	"slices"
	"sort"
	"strings"
)

const (
	// The size of a page when the caller asks for none.
	defaultPageSize = 100
	// The pages of access entries are small unless a setting says otherwise: known
	// clients read only the first page, and a test would not see that.
	entryPageSize = 3
)

// Lists with pages of entryPageSize.
var entryLists = []string{"ListAccessEntries", "ListAssociatedAccessPolicies", "ListAccessPolicies"}

// page returns the part of a sorted list that a call asks for, and the token of the
// next part. AWS may return fewer elements than a caller asks for, and so does the
// double when its setting PageSize is lower.
func (d *Double) page(c *call, sorted []string, sizeMember, tokenMember string) ([]string, string, *apiError) {
	size := defaultPageSize
	if given, ok := c.input[sizeMember].(int64); ok {
		size = int(given)
	}
	if d.settings.PageSize > 0 {
		size = min(size, d.settings.PageSize)
	} else if slices.Contains(entryLists, c.operation.Name) {
		size = entryPageSize
	}
	start := 0
	prefix := c.operation.Name + "\n"
	if token, ok := c.input[tokenMember].(string); ok {
		text, err := base64.URLEncoding.DecodeString(token)
		last, valid := strings.CutPrefix(string(text), prefix)
		if err != nil || !valid {
			code := map[bool]string{true: "ValidationError", false: "InvalidParameterException"}[c.service.isQuery()]
			return nil, "", failure(http.StatusBadRequest, code, "Invalid %s", tokenMember)
		}
		// By name, so that a list that changes between two pages repeats and skips nothing.
		start = sort.SearchStrings(sorted, last+"\x00")
	}
	end := min(start+size, len(sorted))
	if end == len(sorted) {
		return sorted[start:], "", nil
	}
	return sorted[start:end], base64.URLEncoding.EncodeToString([]byte(prefix + sorted[end-1])), nil
}

// listOutput returns a page of names as the lists of EKS do.
func (d *Double) listOutput(c *call, member string, sorted []string) (map[string]any, *apiError) {
	names, token, failed := d.page(c, sorted, "maxResults", "nextToken")
	if failed != nil {
		return nil, failed
	}
	output := map[string]any{member: names}
	if token != "" {
		output["nextToken"] = token
	}
	return output, nil
}
