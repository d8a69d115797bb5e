package awsdouble

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"
)

// validator checks an input against the model. AWS ignores unknown members, but a
// client that sends one was built for another API, so they are violations here.
type validator struct {
	model      *model
	violations []string
}

// validate returns the error that AWS returns for an input that does not satisfy
// the model: all violations in one message.
func (m *model) validate(op *operation, query bool, input map[string]any) *apiError {
	v := validator{model: m}
	if op.Input.Shape != "" {
		v.check(op.Input.Shape, "", input)
	}
	if len(v.violations) == 0 {
		return nil
	}
	code := "ValidationException"
	if query {
		code = "ValidationError"
	}
	noun := "errors"
	if len(v.violations) == 1 {
		noun = "error"
	}
	return failure(http.StatusBadRequest, code, "%d validation %s detected: %s",
		len(v.violations), noun, strings.Join(v.violations, "; "))
}

func (v *validator) violation(path string, value any, format string, arguments ...any) {
	constraint := fmt.Sprintf(format, arguments...)
	v.violations = append(v.violations,
		fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", quoted(value), path, constraint))
}

func quoted(value any) string {
	if value == nil {
		return "null"
	}
	return fmt.Sprintf("'%v'", value)
}

func (v *validator) check(shapeName, path string, value any) {
	s := v.model.Shapes[shapeName]
	switch typed := value.(type) {
	case map[string]any:
		if s.Type == "map" {
			v.checkMap(s, path, typed)
		} else {
			v.checkStructure(s, shapeName, path, typed)
		}
	case []any:
		v.checkSize(s, path, value, len(typed))
		for i, element := range typed {
			v.check(s.Member.Shape, fmt.Sprintf("%s.%d.member", path, i+1), element)
		}
	case string:
		v.checkSize(s, path, value, utf8.RuneCountInString(typed))
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, typed) {
			v.violation(path, value, "Member must satisfy enum value set: [%s]", strings.Join(s.Enum, ", "))
		}
		if s.pattern != nil && !s.pattern.MatchString(typed) {
			v.violation(path, value, "Member must satisfy regular expression pattern: %s", s.Pattern)
		}
	case int64:
		if s.Min != nil && typed < int64(*s.Min) {
			v.violation(path, value, "Member must have value greater than or equal to %d", int64(*s.Min))
		}
		if s.Max != nil && typed > int64(*s.Max) {
			v.violation(path, value, "Member must have value less than or equal to %d", int64(*s.Max))
		}
	}
}

func (v *validator) checkStructure(s *shape, shapeName, path string, value map[string]any) {
	for _, name := range s.Required {
		if value[name] == nil {
			v.violation(joined(path, name), nil, "Member must not be null")
		}
	}
	for _, name := range sortedKeys(value) {
		if member, ok := s.Members[name]; ok {
			v.check(member.Shape, joined(path, name), value[name])
		} else {
			v.violation(joined(path, name), value[name], "%s has no such member", shapeName)
		}
	}
}

func (v *validator) checkMap(s *shape, path string, value map[string]any) {
	v.checkSize(s, path, value, len(value))
	for _, key := range sortedKeys(value) {
		v.check(s.Key.Shape, path, key)
		v.check(s.Value.Shape, path+"."+key+".member", value[key])
	}
}

func (v *validator) checkSize(s *shape, path string, value any, size int) {
	if s.Min != nil && size < int(*s.Min) {
		v.violation(path, value, "Member must have length greater than or equal to %d", int(*s.Min))
	}
	if s.Max != nil && size > int(*s.Max) {
		v.violation(path, value, "Member must have length less than or equal to %d", int(*s.Max))
	}
}

// typed converts a decoded JSON value to the types that the rest of the double
// uses, or returns an error if the value does not have the type of the shape.
func (m *model) typed(shapeName, path string, value any) (any, *apiError) {
	s := m.Shapes[shapeName]
	wrong := failure(http.StatusBadRequest, "SerializationException", "%s is not a %s", path, s.Type)
	switch s.Type {
	case "structure", "map":
		object, ok := value.(map[string]any)
		if !ok {
			return nil, wrong
		}
		return m.typedMembers(s, path, object)
	case "list":
		list, ok := value.([]any)
		if !ok {
			return nil, wrong
		}
		out := make([]any, len(list))
		for i, element := range list {
			converted, err := m.typed(s.Member.Shape, fmt.Sprintf("%s.%d", path, i+1), element)
			if err != nil {
				return nil, err
			}
			out[i] = converted
		}
		return out, nil
	case "string":
		if text, ok := value.(string); ok {
			return text, nil
		}
	case "boolean":
		if flag, ok := value.(bool); ok {
			return flag, nil
		}
	case "integer", "long":
		if number, ok := value.(json.Number); ok {
			if whole, err := number.Int64(); err == nil && whole >= math.MinInt32 && whole <= math.MaxInt32 {
				return whole, nil
			}
		}
	}
	return nil, wrong
}

// typedMembers leaves out members that are null, as AWS does. Unknown members stay
// as they are: the validator reports them.
func (m *model) typedMembers(s *shape, path string, object map[string]any) (any, *apiError) {
	out := map[string]any{}
	for name, element := range object {
		ref, known := s.Members[name]
		if s.Type == "map" {
			ref, known = s.Value, true
		}
		if !known || element == nil && s.Type == "structure" {
			if element != nil {
				out[name] = element
			}
			continue
		}
		converted, err := m.typed(ref.Shape, joined(path, name), element)
		if err != nil {
			return nil, err
		}
		out[name] = converted
	}
	return out, nil
}

func joined(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
