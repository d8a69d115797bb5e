//! The words of an invariant: the verb and the resource, which is found as kubectl finds it. An invariant about a word
//! that no API knows would always hold, so an unknown word is an error.

use super::vocabulary::{HTTP_VERBS, Vocabulary, verbs_of};
use crate::api_resources::{ApiResource, ApiResources, Resolution};
use crate::diagnostic::{Diagnostic, Span, closest_match};
use crate::policy::{Assertion, InvariantSpec, Policy, RequestSpans, RequestSpec};

/// Returns the errors in the words of all invariants.
pub(crate) fn check_invariant_words(policy: &Policy, vocabulary: &Vocabulary<'_>) -> Vec<Diagnostic> {
    policy.invariants.iter().filter_map(|invariant| resolve_assertion(vocabulary, invariant).err()).flatten().collect()
}

/// Returns the assertion of an invariant with the full name of its resource.
///
/// # Errors
/// If the verb or the resource is not known, or if no request for the resource has the verb.
pub(crate) fn resolve_assertion(
    vocabulary: &Vocabulary<'_>,
    invariant: &InvariantSpec,
) -> Result<Assertion, Vec<Diagnostic>> {
    let resolve = |request: &RequestSpec| match &invariant.request_spans {
        Some(spans) => resolve_request(vocabulary, request, spans),
        None => Ok(request.clone()),
    };
    Ok(match &invariant.assertion {
        Assertion::Can(request) => Assertion::Can(resolve(request)?),
        Assertion::Cannot(request) => Assertion::Cannot(resolve(request)?),
        Assertion::CannotEscalate => Assertion::CannotEscalate,
    })
}

fn resolve_request(
    vocabulary: &Vocabulary<'_>,
    request: &RequestSpec,
    spans: &RequestSpans,
) -> Result<RequestSpec, Vec<Diagnostic>> {
    let verb = request.verb.as_str();
    if request.resource.starts_with('/') {
        return if verb == "*" || HTTP_VERBS.contains(&verb) {
            Ok(request.clone())
        } else {
            let error = unknown_verb(verb, spans.verb)
                .with_because("the verbs for non-resource URLs are the HTTP methods")
                .with_help(format!("use one of: {}", HTTP_VERBS.join(", ")));
            Err(vec![error])
        };
    }
    let mut errors = Vec::new();
    let resolved = if request.resource == "*" {
        Ok(None)
    } else {
        ResolvedResource::resolve(vocabulary, &request.resource, spans.resource).map(Some)
    };
    let is_known_verb = verb == "*" || vocabulary.has_verb(verb);
    // Extensions can define verbs of their own for their resources.
    let is_extension = resolved.as_ref().is_ok_and(|resolved| resolved.as_ref().is_some_and(|one| !one.is_builtin()));
    let help = vocabulary.verb_help(verb);
    if !is_known_verb && (!is_extension || help.is_some()) {
        errors.push(help.into_iter().fold(unknown_verb(verb, spans.verb), Diagnostic::with_help));
    }
    let resource = match resolved {
        Ok(None) => request.resource.clone(),
        Ok(Some(resolved)) => {
            if is_known_verb {
                errors.extend(resolved.verb_error(verb, spans.verb));
            }
            resolved.name
        }
        Err(error) => {
            errors.push(*error);
            return Err(errors);
        }
    };
    if errors.is_empty() { Ok(RequestSpec { resource, ..request.clone() }) } else { Err(errors) }
}

fn unknown_verb(verb: &str, span: Span) -> Diagnostic {
    Diagnostic::error(format!("unknown verb `{verb}` in an invariant")).primary_label(span, "")
}

/// A resource, or one of its subresources, that an invariant names.
struct ResolvedResource<'a> {
    /// `deployments.apps/scale`.
    name: String,
    /// `None` for a resource that only the policy declares.
    resource: Option<&'a ApiResource>,
    subresource: Option<String>,
}

impl<'a> ResolvedResource<'a> {
    fn resolve(vocabulary: &Vocabulary<'a>, text: &str, span: Span) -> Result<Self, Box<Diagnostic>> {
        let (typed, subresource) = match text.split_once('/') {
            Some((typed, subresource)) => (typed, Some(subresource.to_owned())),
            None => (text, None),
        };
        let with_subresource = |name: String| match &subresource {
            Some(subresource) => format!("{name}/{subresource}"),
            None => name,
        };
        if let Some(declared) = declared_name(vocabulary, typed) {
            return Ok(Self { name: with_subresource(declared), resource: None, subresource });
        }
        let error = |message: String| Diagnostic::error(message).primary_label(span, "");
        let resource = match vocabulary.api.resolve(typed) {
            Resolution::Resource(resource) => resource,
            Resolution::Ambiguous(resources) => {
                let names: Vec<String> =
                    resources.iter().map(|resource| format!("`{}`", resource.qualified_name())).collect();
                let error = error(format!("resource `{typed}` in an invariant is ambiguous"));
                return Err(Box::new(error.with_help(format!("write {}", names.join(" or ")))));
            }
            Resolution::Unknown { nearest } => {
                let error = error(format!("unknown resource `{typed}` in an invariant"))
                    .with_because("an invariant about a resource that does not exist would test nothing");
                return Err(Box::new(match nearest {
                    Some(near) => error.with_help(format!("did you mean `{near}`?")),
                    None => {
                        let name = if typed.contains('.') { typed.to_owned() } else { format!("{typed}.example.com") };
                        error.with_help(format!("for a custom resource, declare it: `[lint] resources = [\"{name}\"]`"))
                    }
                }));
            }
        };
        if let Some(name) = subresource.as_deref().filter(|name| !resource.has_subresource(name)) {
            let known: Vec<&str> = resource.subresources.keys().map(String::as_str).collect();
            let error =
                error(format!("unknown subresource `{text}` in an invariant")).with_because(match known.as_slice() {
                    [] => format!("`{}` has no subresources", resource.qualified_name()),
                    known => format!("`{}` has the subresources {}", resource.qualified_name(), known.join(", ")),
                });
            return Err(Box::new(match closest_match(name, known) {
                Some(near) => error.with_help(format!("did you mean `{typed}/{near}`?")),
                None => error,
            }));
        }
        Ok(Self { name: with_subresource(resource.qualified_name()), resource: Some(resource), subresource })
    }

    fn is_builtin(&self) -> bool {
        self.resource.is_some_and(|resource| ApiResources::builtin().get(&resource.group, &resource.plural).is_some())
    }

    /// Returns the error for a verb that no request for the resource has. It is not known for resources that are not
    /// built in, since extensions can define verbs.
    fn verb_error(&self, verb: &str, span: Span) -> Option<Diagnostic> {
        let resource = self.resource.filter(|_| self.is_builtin() && verb != "*")?;
        let verbs = verbs_of(resource, self.subresource.as_deref())?;
        if verbs.contains(verb) {
            return None;
        }
        let verbs: Vec<&str> = verbs.into_iter().collect();
        let error = Diagnostic::error(format!("no request for `{}` has the verb `{verb}`", self.name));
        Some(error.primary_label(span, "").with_because(format!("its verbs are: {}", verbs.join(", "))))
    }
}

/// Returns the full name of a resource that the policy declares, if the text names one.
fn declared_name(vocabulary: &Vocabulary<'_>, typed: &str) -> Option<String> {
    match typed.split_once('.') {
        Some((plural, group)) => vocabulary.is_declared(group, plural).then(|| typed.to_owned()),
        None if vocabulary.with_plural(typed).is_empty() => {
            let mut groups = vocabulary.declared_groups(typed);
            let group = groups.next()?;
            groups.next().is_none().then(|| format!("{typed}.{group}"))
        }
        None => None,
    }
}
