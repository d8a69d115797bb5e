package awsdouble

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// decodeREST reads the input of a REST request from its path, query and JSON body.
func (m *model) decodeREST(op *operation, path map[string]string, r *http.Request, body []byte) (map[string]any, *apiError) {
	input := map[string]any{}
	s := m.Shapes[op.Input.Shape]
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, failure(http.StatusBadRequest, "SerializationException", "the query cannot be parsed")
	}
	inBody := map[string]bool{}
	for name, ref := range s.Members {
		switch ref.Location {
		case "uri":
			input[name] = path[ref.LocationName]
		case "querystring":
			values, ok := query[ref.LocationName]
			if !ok {
				continue
			}
			delete(query, ref.LocationName)
			value, failed := m.fromTexts(ref.Shape, name, values)
			if failed != nil {
				return nil, failed
			}
			input[name] = value
		default:
			inBody[name] = true
		}
	}
	for _, name := range sortedKeys(query) {
		// Reported by the validator as an unknown member.
		input["?"+name] = query.Get(name)
	}
	return input, m.decodeBody(op, inBody, body, input)
}

func (m *model) decodeBody(op *operation, inBody map[string]bool, body []byte, input map[string]any) *apiError {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || decoder.More() {
		return failure(http.StatusBadRequest, "SerializationException", "the body is not a JSON object")
	}
	converted, failed := m.typed(op.Input.Shape, "", object)
	if failed != nil {
		return failed
	}
	for name, value := range converted.(map[string]any) {
		if !inBody[name] {
			// A member of the path or the query has no effect in the body.
			name = "body:" + name
		}
		input[name] = value
	}
	return nil
}

// decodeForm reads the input of the query protocol, in which the member `Tags` of
// a list of structures is written as `Tags.member.1.Key`.
func (m *model) decodeForm(op *operation, form url.Values) (map[string]any, *apiError) {
	rest := url.Values{}
	for name, values := range form {
		if name == "Action" || name == "Version" {
			continue
		}
		if len(values) > 1 {
			return nil, failure(http.StatusBadRequest, "MalformedQueryString", "%s is given twice", name)
		}
		rest[name] = values
	}
	value, failed := m.fromForm(op.Input.Shape, "", rest)
	if failed != nil {
		return nil, failed
	}
	input, ok := value.(map[string]any)
	if !ok {
		input = map[string]any{}
	}
	for _, name := range sortedKeys(rest) {
		// Reported by the validator as an unknown member.
		input[name] = rest.Get(name)
	}
	return input, nil
}

// fromForm removes what it reads from the form. It returns nil if the form has no
// value with this prefix.
func (m *model) fromForm(shapeName, prefix string, form url.Values) (any, *apiError) {
	s := m.Shapes[shapeName]
	switch s.Type {
	case "structure":
		object := map[string]any{}
		for name, ref := range s.Members {
			value, failed := m.fromForm(ref.Shape, joined(prefix, name), form)
			if failed != nil {
				return nil, failed
			}
			if value != nil {
				object[name] = value
			}
		}
		if len(object) == 0 {
			return nil, nil
		}
		return object, nil
	case "list":
		var list []any
		for {
			value, failed := m.fromForm(s.Member.Shape, fmt.Sprintf("%s.member.%d", prefix, len(list)+1), form)
			if failed != nil {
				return nil, failed
			}
			if value == nil {
				break
			}
			list = append(list, value)
		}
		if list == nil {
			return nil, nil
		}
		return list, nil
	}
	values, ok := form[prefix]
	if !ok {
		return nil, nil
	}
	delete(form, prefix)
	return m.fromTexts(shapeName, prefix, values)
}

// fromTexts converts the values of a query parameter.
func (m *model) fromTexts(shapeName, name string, values []string) (any, *apiError) {
	s := m.Shapes[shapeName]
	if s.Type == "list" {
		list := make([]any, len(values))
		for i, text := range values {
			value, failed := m.fromTexts(s.Member.Shape, name, []string{text})
			if failed != nil {
				return nil, failed
			}
			list[i] = value
		}
		return list, nil
	}
	text := strings.Join(values, ",")
	switch s.Type {
	case "string":
		return text, nil
	case "integer", "long":
		if number, err := strconv.ParseInt(text, 10, 32); err == nil {
			return number, nil
		}
	case "boolean":
		if text == "true" || text == "false" {
			return text == "true", nil
		}
	}
	return nil, failure(http.StatusBadRequest, "SerializationException", "%s is not a %s: %q", name, s.Type, text)
}
