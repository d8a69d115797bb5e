package awsdouble

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"
)

const requestID = "00000000-0000-4000-8000-000000000000"

// writeAnswer writes an output as its service does. An output that does not fit
// the model is an error of the double.
func writeAnswer(w http.ResponseWriter, s *service, op *operation, output map[string]any) {
	checked, err := s.model.output(op.Output.Shape, op.Name, output)
	if err != nil {
		writeError(w, s.isQuery(), s.model.Metadata.XMLNamespace,
			failure(http.StatusInternalServerError, "InternalFailure", "error of the double: %v", err))
		return
	}
	w.Header().Set("x-amzn-RequestId", requestID)
	if !s.isQuery() {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(checked)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%sResponse xmlns="%s"><%s>`, op.Name, s.model.Metadata.XMLNamespace, op.Output.ResultWrapper)
	writeXML(w, checked)
	fmt.Fprintf(w, `</%s><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>`,
		op.Output.ResultWrapper, requestID, op.Name)
}

func writeError(w http.ResponseWriter, query bool, namespace string, e *apiError) {
	w.Header().Set("x-amzn-RequestId", requestID)
	if !query {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("x-amzn-errortype", e.code)
		w.WriteHeader(e.status)
		_ = json.NewEncoder(w).Encode(map[string]any{"__type": e.code, "message": e.message})
		return
	}
	kind := "Sender"
	if e.status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
		namespace, kind, escaped(e.code), escaped(e.message), requestID)
}

// output converts an output to values that JSON and XML can hold. Times become
// what the protocol of the service uses.
func (m *model) output(shapeName, path string, value any) (any, error) {
	s, ok := m.Shapes[shapeName]
	if !ok {
		if object, isObject := value.(map[string]any); isObject && len(object) == 0 {
			return object, nil
		}
		return nil, fmt.Errorf("%s has no output", path)
	}
	reflected := reflect.ValueOf(value)
	switch {
	case s.Type == "structure" || s.Type == "map":
		if reflected.Kind() != reflect.Map {
			break
		}
		out := map[string]any{}
		for _, key := range reflected.MapKeys() {
			ref, known := s.Members[key.String()]
			if s.Type == "map" {
				ref, known = s.Value, true
			}
			if !known {
				return nil, fmt.Errorf("%s has no member %s", path, key)
			}
			element, err := m.output(ref.Shape, joined(path, key.String()), reflected.MapIndex(key).Interface())
			if err != nil {
				return nil, err
			}
			out[key.String()] = element
		}
		return out, nil
	case s.Type == "list":
		if reflected.Kind() != reflect.Slice {
			break
		}
		out := make([]any, reflected.Len())
		for i := range out {
			element, err := m.output(s.Member.Shape, path, reflected.Index(i).Interface())
			if err != nil {
				return nil, err
			}
			out[i] = element
		}
		return out, nil
	case s.Type == "timestamp":
		if at, isTime := value.(time.Time); isTime && m.Metadata.Protocol == "query" {
			return at.UTC().Format(time.RFC3339), nil
		} else if isTime {
			return float64(at.UnixMilli()) / 1000, nil
		}
		return value, nil
	case s.Type == "string" && reflected.Kind() == reflect.String,
		s.Type == "boolean" && reflected.Kind() == reflect.Bool,
		s.Type == "integer" || s.Type == "long" || s.Type == "float" || s.Type == "double":
		return value, nil
	}
	return nil, fmt.Errorf("%s is a %T instead of a %s", path, value, s.Type)
}

func writeXML(w http.ResponseWriter, value any) {
	switch typed := value.(type) {
	case map[string]any:
		for _, name := range sortedKeys(typed) {
			fmt.Fprintf(w, "<%s>", name)
			writeXML(w, typed[name])
			fmt.Fprintf(w, "</%s>", name)
		}
	case []any:
		for _, element := range typed {
			fmt.Fprint(w, "<member>")
			writeXML(w, element)
			fmt.Fprint(w, "</member>")
		}
	default:
		fmt.Fprint(w, escaped(fmt.Sprint(typed)))
	}
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text))
	return out.String()
}
