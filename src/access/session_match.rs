//! Which sessions render a template to a given name: the inverse of [`super::template`].
//!
//! A username such as `dev:{{SessionName}}` is one name for each session. A binding of `dev:alice` therefore grants its
//! role to every session named `alice`.
//!
//! Sources: aws-iam-authenticator v0.7.8 `pkg/server/server.go` (`renderTemplate`); AWS STS API, `AssumeRole`
//! (`RoleSessionName`: 2 to 64 characters of `[\w+=,.@-]`); IAM API, `AccessKey` (`AccessKeyId`: 16 to 128 characters)
//! and IAM User Guide, "Understanding unique ID prefixes" (`AKIA`, `ASIA`); Amazon EC2 User Guide, "EC2 instance
//! hostnames and domains" (`ip-10-0-0-1` and `i-0123456789abcdef0`, followed by a domain).

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::session_attributes::SessionAttributes;

pub(super) const EC2_PRIVATE_DNS_NAME: &str = "{{EC2PrivateDNSName}}";
pub(super) const ACCOUNT_ID: &str = "{{AccountID}}";
pub(super) const SESSION_NAME: &str = "{{SessionName}}";
pub(super) const SESSION_NAME_RAW: &str = "{{SessionNameRaw}}";
pub(super) const ACCESS_KEY_ID: &str = "{{AccessKeyID}}";

/// The maximum length of the part of a template that becomes one byte of the name: every placeholder becomes at least one
/// byte, and at most three of them, of up to 21 bytes, are nested in each other.
const MAX_TEMPLATE_PER_BYTE: usize = 64;

/// Returns the sessions for which the authenticator renders `template` to `name`, for a principal of the account.
///
/// The result is complete: each session that renders to the name has the attributes of one of the results, apart from
/// `@` for `-` in its name if `{{SessionNameRaw}}` does not occur. Names that STS and EC2 cannot produce are left out.
pub(crate) fn sessions_rendering(template: &str, account: &str, name: &str) -> BTreeSet<SessionAttributes> {
    if template.len() / MAX_TEMPLATE_PER_BYTE > name.len() {
        return BTreeSet::new();
    }
    let text = template.replace(ACCOUNT_ID, account);
    let pieces = split_pieces(&text);
    let mut sessions = solve(&pieces, name);
    // A session name can complete a placeholder: `{{Session{{SessionName}}Raw}}` with the session `Name`. Such a session
    // name is a part of a placeholder that the authenticator replaces later.
    let can_nest = pieces.iter().any(|piece| matches!(piece, Piece::Literal(text) if text.contains("{{")));
    if can_nest && pieces.iter().any(|piece| matches!(piece, Piece::Session | Piece::RawSession)) {
        for session in parts_of_later_placeholders() {
            let folded = text.replace(SESSION_NAME, &session).replace(SESSION_NAME_RAW, &session);
            for solution in solve(&split_pieces(&folded), name) {
                let solution = SessionAttributes { name: Some(session.clone()), ..solution };
                if !text.contains(EC2_PRIVATE_DNS_NAME) || is_instance_id(&session) {
                    sessions.insert(solution);
                }
            }
        }
        sessions.retain(|session| {
            let Some(own) = &session.name else {
                return true;
            };
            let rendered = text.replace(SESSION_NAME, &own.replace('@', "-")).replace(SESSION_NAME_RAW, own);
            !solve(&split_pieces(&rendered), name).is_empty()
        });
    }
    sessions
}

/// Returns the literal text before the first placeholder, with which every rendered name begins.
pub(crate) fn literal_prefix(template: &str, account: &str) -> String {
    let text = template.replace(ACCOUNT_ID, account);
    match split_pieces(&text).first() {
        Some(Piece::Literal(prefix)) => (*prefix).to_owned(),
        Some(_) | None => String::new(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    Session,
    RawSession,
    AccessKeyId,
    Ec2PrivateDnsName,
}

const PLACEHOLDERS: [(&str, Piece<'static>); 4] = [
    (SESSION_NAME, Piece::Session),
    (SESSION_NAME_RAW, Piece::RawSession),
    (ACCESS_KEY_ID, Piece::AccessKeyId),
    (EC2_PRIVATE_DNS_NAME, Piece::Ec2PrivateDnsName),
];

fn split_pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut searched) = (text, 0);
    while let Some(at) = rest.get(searched..).and_then(|tail| tail.find("{{")).map(|at| searched + at) {
        let (literal, tail) = rest.split_at(at);
        let known = PLACEHOLDERS.iter().find_map(|(text, piece)| Some((tail.strip_prefix(text)?, *piece)));
        let Some((after, piece)) = known else {
            searched = at + 1;
            continue;
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        pieces.push(piece);
        (rest, searched) = (after, 0);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

/// The values of the placeholders, as far as they are known.
#[derive(Debug, Clone, Copy, Default)]
struct Values<'a> {
    session: Option<&'a str>,
    raw_session: Option<&'a str>,
    access_key_id: Option<&'a str>,
    ec2_private_dns_name: Option<&'a str>,
}

struct Solver {
    session_lengths: RangeInclusive<usize>,
    /// The template contains `{{EC2PrivateDNSName}}`, so the authenticator rejects sessions of other principals.
    needs_instance: bool,
    solutions: BTreeSet<SessionAttributes>,
}

fn solve(pieces: &[Piece<'_>], name: &str) -> BTreeSet<SessionAttributes> {
    let (mut session_count, mut literal_length, mut has_others) = (0, 0, false);
    for piece in pieces {
        match piece {
            Piece::Literal(text) => literal_length += text.len(),
            Piece::Session | Piece::RawSession => session_count += 1,
            Piece::AccessKeyId | Piece::Ec2PrivateDnsName => has_others = true,
        }
    }
    let mut session_lengths = SESSION_NAME_LENGTHS;
    if session_count > 0 && !has_others {
        // All session placeholders have the same length, so the name determines it.
        let Some(total) = name.len().checked_sub(literal_length).filter(|total| total % session_count == 0) else {
            return BTreeSet::new();
        };
        let length = total / session_count;
        if !SESSION_NAME_LENGTHS.contains(&length) {
            return BTreeSet::new();
        }
        session_lengths = length..=length;
    }
    let needs_instance = pieces.contains(&Piece::Ec2PrivateDnsName);
    let mut solver = Solver { session_lengths, needs_instance, solutions: BTreeSet::new() };
    solver.solve(pieces, name, Values::default());
    solver.solutions
}

impl Solver {
    /// Adds every solution in which the pieces render to `rest`.
    fn solve<'a>(&mut self, pieces: &[Piece<'_>], rest: &'a str, values: Values<'a>) {
        let Some((piece, pieces)) = pieces.split_first() else {
            if rest.is_empty() {
                self.add_solution(values);
            }
            return;
        };
        let known = match piece {
            Piece::Literal(text) => {
                if let Some(rest) = rest.strip_prefix(text) {
                    self.solve(pieces, rest, values);
                }
                return;
            }
            Piece::Session => values.session,
            Piece::RawSession => values.raw_session,
            Piece::AccessKeyId => values.access_key_id,
            Piece::Ec2PrivateDnsName => values.ec2_private_dns_name,
        };
        if let Some(known) = known {
            if let Some(rest) = rest.strip_prefix(known) {
                self.solve(pieces, rest, values);
            }
            return;
        }
        let (lengths, is_char): (_, fn(char) -> bool) = match piece {
            Piece::Session | Piece::RawSession => {
                let same_length = values.session.or(values.raw_session).map(str::len);
                let lengths = same_length.map_or(self.session_lengths.clone(), |length| length..=length);
                (lengths, is_session_name_char)
            }
            Piece::AccessKeyId => (ACCESS_KEY_ID_LENGTHS, is_access_key_char),
            Piece::Ec2PrivateDnsName | Piece::Literal(_) => (DNS_NAME_LENGTHS, is_dns_char),
        };
        let longest = rest.find(|c| !is_char(c)).unwrap_or(rest.len()).min(*lengths.end());
        for length in *lengths.start()..=longest {
            let Some((value, rest)) = rest.split_at_checked(length) else {
                return;
            };
            if let Some(values) = values.with(*piece, value) {
                self.solve(pieces, rest, values);
            }
        }
    }

    fn add_solution(&mut self, values: Values<'_>) {
        let Values { session, raw_session, access_key_id, ec2_private_dns_name } = values;
        let name = raw_session.or(session);
        let instance = ec2_private_dns_name.and_then(instance_id_of_dns_name);
        let is_consistent = name.is_none_or(|name| {
            (!self.needs_instance || is_instance_id(name)) && instance.is_none_or(|instance| instance == name)
        });
        if is_consistent {
            self.solutions.insert(SessionAttributes {
                name: name.or(instance).map(str::to_owned),
                access_key_id: access_key_id.map(str::to_owned),
                ec2_private_dns_name: ec2_private_dns_name.map(str::to_owned),
            });
        }
    }
}

impl<'a> Values<'a> {
    /// Returns the values with one more. `None` if a placeholder cannot have the value, or not together with the others.
    fn with(self, piece: Piece<'_>, value: &'a str) -> Option<Self> {
        let is_folded = |session: &str, raw: &str| raw.replace('@', "-") == *session;
        match piece {
            Piece::Session => {
                let is_valid = !value.contains('@') && self.raw_session.is_none_or(|raw| is_folded(value, raw));
                is_valid.then_some(Self { session: Some(value), ..self })
            }
            Piece::RawSession => {
                let is_valid = self.session.is_none_or(|session| is_folded(session, value));
                is_valid.then_some(Self { raw_session: Some(value), ..self })
            }
            Piece::AccessKeyId => is_access_key_id(value).then_some(Self { access_key_id: Some(value), ..self }),
            Piece::Ec2PrivateDnsName => {
                is_ec2_private_dns_name(value).then_some(Self { ec2_private_dns_name: Some(value), ..self })
            }
            Piece::Literal(_) => None,
        }
    }
}

const SESSION_NAME_LENGTHS: RangeInclusive<usize> = 2..=64;
const ACCESS_KEY_ID_LENGTHS: RangeInclusive<usize> = 16..=128;
const DNS_NAME_LENGTHS: RangeInclusive<usize> = 1..=253;

/// Returns whether STS allows the character in the name of a session (`RoleSessionName` of `AssumeRole`).
pub(crate) fn is_session_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)
}

/// Returns whether a session can have the name (`RoleSessionName` of `AssumeRole`).
pub(crate) fn is_session_name(name: &str) -> bool {
    SESSION_NAME_LENGTHS.contains(&name.len()) && name.chars().all(is_session_name_char)
}

fn is_access_key_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit()
}

/// `AKIA…` is an access key of a user, `ASIA…` a temporary one.
fn is_access_key_id(text: &str) -> bool {
    ["AKIA", "ASIA"].iter().any(|prefix| text.starts_with(prefix)) && ACCESS_KEY_ID_LENGTHS.contains(&text.len())
}

fn is_dns_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.'
}

/// Returns whether the session name matches `^i-(\w{8}|\w{17})$`.
pub(super) fn is_instance_id(session: &str) -> bool {
    session.strip_prefix("i-").is_some_and(|id| {
        matches!(id.len(), 8 | 17) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// Returns whether the text can be the private DNS name of an EC2 instance: its private IPv4 address or its ID, and
/// usually a domain.
fn is_ec2_private_dns_name(text: &str) -> bool {
    let mut labels = text.split('.');
    let host = labels.next().unwrap_or_default();
    let is_octet = |text: &str| !(text.len() > 1 && text.starts_with('0')) && text.parse::<u8>().is_ok();
    let is_address = || {
        host.strip_prefix("ip-")
            .is_some_and(|address| address.split('-').count() == 4 && address.split('-').all(is_octet))
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(is_dns_char)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (instance_id_of_dns_name(text).is_some() || is_address()) && labels.all(is_label)
}

/// Returns the instance ID that a private DNS name begins with. `None` if it begins with an address.
fn instance_id_of_dns_name(name: &str) -> Option<&str> {
    let host = name.split('.').next().unwrap_or_default();
    let is_hexadecimal = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_instance_id(host) && host.strip_prefix("i-").is_some_and(is_hexadecimal)).then_some(host)
}

/// Returns the session names that are a part of a placeholder that the authenticator replaces after `{{SessionName}}`.
fn parts_of_later_placeholders() -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for name in [SESSION_NAME_RAW, ACCESS_KEY_ID].map(|placeholder| placeholder.trim_matches(['{', '}'])) {
        for start in 0..name.len() {
            let ends = start..=name.len();
            parts.extend(
                ends.filter_map(|end| name.get(start..end)).filter(|part| is_session_name(part)).map(str::to_owned),
            );
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACCOUNT: &str = "111122223333";

    /// As `renderTemplate` of the authenticator.
    fn render(template: &str, [session, key, dns]: [&str; 3]) -> String {
        template
            .replace(EC2_PRIVATE_DNS_NAME, dns)
            .replace(ACCOUNT_ID, ACCOUNT)
            .replace(SESSION_NAME, &session.replace('@', "-"))
            .replace(SESSION_NAME_RAW, session)
            .replace(ACCESS_KEY_ID, key)
    }

    fn solutions(template: &str, name: &str) -> Vec<String> {
        sessions_rendering(template, ACCOUNT, name).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn session_name_is_found_in_the_rendered_name() {
        assert_eq!(solutions("dev:{{SessionName}}", "dev:alice"), ["sessions named `alice`"]);
        assert_eq!(solutions("{{AccountID}}/{{SessionNameRaw}}", "111122223333/a@b"), ["sessions named `a@b`"]);
        assert_eq!(solutions("t-{{SessionName}}-{{SessionNameRaw}}", "t-a-b-a@b"), ["sessions named `a@b`"]);
        assert_eq!(solutions("{{SessionName}}{{SessionName}}", "bobbob"), ["sessions named `bob`"]);
        assert_eq!(solutions("admins", "admins"), ["all sessions"]);
    }

    #[test]
    fn names_that_sts_cannot_produce_match_nothing() {
        for (template, name) in [
            ("dev:{{SessionName}}", "dev:a"),
            ("dev:{{SessionName}}", "dev:"),
            ("{{SessionName}}", "system:masters"),
            ("{{SessionName}}", "a@b"),
            ("{{SessionNameRaw}}", "a b"),
            ("{{SessionName}}{{SessionName}}", "bobbobb"),
            ("{{SessionName}}-{{SessionNameRaw}}", "ab-cd"),
            ("{{AccessKeyID}}", "asia0123456789abcdef"),
            ("{{AccessKeyID}}", "ASIA"),
            ("system:node:{{EC2PrivateDNSName}}", "system:node:worker"),
            ("system:node:{{EC2PrivateDNSName}}", "system:node:ip-10-0-0-256.ec2.internal"),
            ("dev:{{SessionName }}", "dev:alice"),
        ] {
            assert_eq!(solutions(template, name), [""; 0], "{template} {name}");
        }
        let long = "a".repeat(65);
        assert_eq!(solutions("{{SessionName}}", &long), [""; 0]);
        assert_eq!(solutions("{{SessionName}}", &long[1..]).len(), 1);
    }

    #[test]
    fn access_key_and_node_name_are_found() {
        assert_eq!(
            solutions("{{SessionName}}/{{AccessKeyID}}", "ci/ASIAQWERTYUIOP234567"),
            ["sessions named `ci` with the access key `ASIAQWERTYUIOP234567`"]
        );
        assert_eq!(
            solutions("system:node:{{EC2PrivateDNSName}}", "system:node:ip-10-0-0-1.ec2.internal"),
            ["sessions of the EC2 instance `ip-10-0-0-1.ec2.internal`"]
        );
        let by_id = "i-0123456789abcdef0.eu-west-1.compute.internal";
        assert_eq!(
            solutions("{{EC2PrivateDNSName}}", by_id),
            [format!("sessions named `i-0123456789abcdef0` of the EC2 instance `{by_id}`")]
        );
    }

    #[test]
    fn session_name_that_completes_a_placeholder_is_found() {
        assert_eq!(solutions("{{Session{{SessionName}}Raw}}", "Name"), ["sessions named `Name`"]);
        assert_eq!(solutions("{{Session{{SessionName}}Raw}}", "{{SessionNameRaw}}"), [""; 0]);
    }

    #[test]
    fn raw_template_distinguishes_names_that_the_other_renders_alike() {
        let named = SessionAttributes::named("a-b");
        let other = |taken: &[&str]| {
            let taken = taken.iter().map(|name| (*name).to_owned()).collect();
            named.with_other_raw_name(&taken).and_then(|other| other.name)
        };
        assert_eq!(other(&[]).as_deref(), Some("a@b"));
        assert_eq!(other(&["a@b"]), None);
        assert_eq!(SessionAttributes::named("alice").with_other_raw_name(&BTreeSet::new()), None);
    }

    fn template() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(SESSION_NAME.to_owned()),
            Just(SESSION_NAME.to_owned()),
            Just(SESSION_NAME_RAW.to_owned()),
            Just(ACCESS_KEY_ID.to_owned()),
            Just(EC2_PRIVATE_DNS_NAME.to_owned()),
            Just(ACCOUNT_ID.to_owned()),
            Just("{{Session".to_owned()),
            Just("Raw}}".to_owned()),
            "[a-c:@.-]{0,3}",
        ];
        prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
    }

    fn session() -> impl Strategy<Value = [String; 3]> {
        let name = prop_oneof!["[a-c@-]{2,5}", Just("Name".to_owned()), "[A-Za-z0-9_+=,.@-]{2,64}"];
        let instance = ("i-[0-9a-f]{8}", prop::bool::ANY).prop_map(|(id, by_id)| {
            let dns = if by_id { format!("{id}.compute.internal") } else { "ip-10-0-0-1.ec2.internal".to_owned() };
            [id, "ASIA0123456789ABCDEF".to_owned(), dns]
        });
        let other = name.prop_map(|name| [name, "ASIA0123456789ABCDEF".to_owned(), String::new()]);
        prop_oneof![other, instance]
    }

    proptest! {
        #[test]
        fn inversion_finds_the_session_of_a_rendered_name(template in template(), session in session()) {
            let [name, key, dns] = session.each_ref().map(String::as_str);
            prop_assume!(!template.contains(EC2_PRIVATE_DNS_NAME) || is_instance_id(name));
            let rendered = render(&template, [name, key, dns]);
            let found = sessions_rendering(&template, ACCOUNT, &rendered);
            let matches = |found: &SessionAttributes| {
                let SessionAttributes { name: own, access_key_id, ec2_private_dns_name } = found;
                let is_same_name = |own: &String| own == name || *own == name.replace('@', "-");
                own.as_ref().is_none_or(is_same_name)
                    && access_key_id.as_ref().is_none_or(|own| own == key)
                    && ec2_private_dns_name.as_ref().is_none_or(|own| own == dns)
            };
            prop_assert!(found.iter().any(matches), "{found:?}");
        }

        #[test]
        fn every_session_of_the_inversion_renders_to_the_name(template in template(), session in session()) {
            let [name, key, dns] = session.each_ref().map(String::as_str);
            let rendered = render(&template, [name, key, dns]);
            for found in sessions_rendering(&template, ACCOUNT, &rendered) {
                let or = |own: &Option<String>, other: &str| own.clone().unwrap_or_else(|| other.to_owned());
                let values = [
                    or(&found.name, name),
                    or(&found.access_key_id, key),
                    or(&found.ec2_private_dns_name, dns),
                ];
                prop_assert_eq!(render(&template, values.each_ref().map(String::as_str)), rendered.clone());
                prop_assert!(found.name.as_ref().is_none_or(|name| is_session_name(name)));
            }
        }
    }
}
