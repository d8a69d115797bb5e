//! Resolves one scalar by the YAML 1.1 rules of go-yaml v2 (`resolve.go`): `yes` is true, `017` is 15,
//! `2020-01-01` is a string. It uses only the scalar and its tag, not the nodes around it.

use std::borrow::Cow;

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// A resolved scalar.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScalarValue<'s> {
    Null,
    Bool(bool),
    Int(i64),
    /// Only values above the range of `i64`.
    Uint(u64),
    /// Can be infinite or NaN, which JSON cannot represent.
    Float(f64),
    Text(Cow<'s, str>),
}

/// Resolves a scalar. `plain`: it has no quotes. The error is the message of a [`super::YamlError`].
pub(super) fn resolve_scalar<'s>(tag: Option<&str>, plain: bool, text: &'s str) -> Result<ScalarValue<'s>, String> {
    let Some(tag) = tag else {
        return Ok(if plain { resolve_plain_scalar(text) } else { ScalarValue::Text(Cow::Borrowed(text)) });
    };
    let Some(kind) = tag.strip_prefix(TAG_PREFIX) else {
        return Ok(ScalarValue::Text(Cow::Borrowed(text)));
    };
    let resolved = match kind {
        "str" => return Ok(ScalarValue::Text(Cow::Borrowed(text))),
        "binary" => return decode_binary(text),
        "bool" | "int" | "float" | "null" => resolve_plain_scalar(text),
        // Whether go-yaml accepts the date depends on Go's date parser.
        "timestamp" => return Err("the tag `!!timestamp` is not supported".to_owned()),
        _ => return Ok(ScalarValue::Text(Cow::Borrowed(text))),
    };
    match (kind, resolved) {
        ("bool", value @ ScalarValue::Bool(_))
        | ("int", value @ (ScalarValue::Int(_) | ScalarValue::Uint(_)))
        | ("float", value @ ScalarValue::Float(_))
        | ("null", value @ ScalarValue::Null) => Ok(value),
        #[expect(clippy::cast_precision_loss, reason = "go-yaml converts it, too")]
        ("float", ScalarValue::Int(value)) => Ok(ScalarValue::Float(value as f64)),
        _ => Err(format!("cannot decode `{text}` as `!!{kind}`")),
    }
}

/// Resolves a plain scalar without a tag.
pub(super) fn resolve_plain_scalar(text: &str) -> ScalarValue<'_> {
    let as_text = ScalarValue::Text(Cow::Borrowed(text));
    match text.as_bytes().first() {
        None => ScalarValue::Null,
        Some(b'+' | b'-' | b'0'..=b'9') => {
            resolve_word(text).or_else(|| resolve_number(&text.replace('_', ""))).unwrap_or(as_text)
        }
        Some(b'.') => resolve_word(text).or_else(|| resolve_dotted_float(text)).unwrap_or(as_text),
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => {
            resolve_word(text).unwrap_or(as_text)
        }
        Some(_) => as_text,
    }
}

fn resolve_word(text: &str) -> Option<ScalarValue<'static>> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => ScalarValue::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            ScalarValue::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => ScalarValue::Null,
        ".nan" | ".NaN" | ".NAN" => ScalarValue::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => ScalarValue::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => ScalarValue::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn resolve_number(plain: &str) -> Option<ScalarValue<'static>> {
    let (negative, digits) = match plain.as_bytes().first() {
        Some(b'-') => (true, plain.get(1..)?),
        Some(b'+') => (false, plain.get(1..)?),
        _ => (false, plain),
    };
    if let Some(magnitude) = parse_uint(digits) {
        if negative {
            let value = 0_i64.checked_sub_unsigned(magnitude);
            if let Some(value) = value {
                return Some(ScalarValue::Int(value));
            }
        } else if let Ok(value) = i64::try_from(magnitude) {
            return Some(ScalarValue::Int(value));
        } else if !plain.starts_with('+') {
            return Some(ScalarValue::Uint(magnitude));
        }
    }
    if is_float(digits) {
        let value: f64 = plain.parse().ok()?;
        // Go's `ParseFloat` fails for a number out of range, and go-yaml keeps the string.
        return value.is_finite().then_some(ScalarValue::Float(value));
    }
    // A quirk of go-yaml: a sign is allowed after `0b`.
    let signed = plain.strip_prefix("0b")?;
    i64::from_str_radix(signed, 2).ok().map(ScalarValue::Int)
}

/// Parses an integer as Go's `ParseUint` with base 0.
fn parse_uint(digits: &str) -> Option<u64> {
    let (radix, rest) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // Rust's `from_str_radix` accepts a sign here, Go does not.
    if rest.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(rest, radix).ok()
}

/// Returns whether the text is a float without a sign, such as `12`, `12.`, `.5` or `1.5e-3`.
fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(index) => (digits.get(..index), digits.get(index + 1..)),
        None => (Some(digits), None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = mantissa.unwrap_or_default();
    let mantissa_valid = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && all_digits(mantissa),
        Some((whole, fraction)) => {
            all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
    };
    let exponent_valid = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_valid && exponent_valid
}

/// Resolves a text that starts with a dot. go-yaml passes it to Go's `ParseFloat` without removing
/// underscores, and `ParseFloat` accepts one only between two digits.
fn resolve_dotted_float(text: &str) -> Option<ScalarValue<'static>> {
    let bytes = text.as_bytes();
    let between_digits = bytes.iter().enumerate().all(|(index, byte)| {
        let is_digit = |index: Option<usize>| index.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
        *byte != b'_' || (is_digit(index.checked_sub(1)) && is_digit(index.checked_add(1)))
    });
    let plain = text.replace('_', "");
    if !between_digits || !is_float(&plain) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    value.is_finite().then_some(ScalarValue::Float(value))
}

fn decode_binary(text: &str) -> Result<ScalarValue<'static>, String> {
    let bytes = decode_base64(text).ok_or("the value of `!!binary` is not valid base64")?;
    // Go's encoding/json replaces every invalid UTF-8 byte with one U+FFFD.
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{FFFD}'));
    }
    Ok(ScalarValue::Text(Cow::Owned(out)))
}

/// Decodes padded base64 of the standard alphabet and ignores line breaks, as Go's `StdEncoding` does.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bits = 0_u32;
    let mut count = 0;
    let mut padding = 0;
    for byte in text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                0
            }
            _ => return None,
        };
        // Padding is only valid at the end of the last group.
        if padding > 2 || (padding > 0 && (byte != b'=' || count < 2)) {
            return None;
        }
        bits = bits << 6 | u32::from(value);
        count += 1;
        if count == 4 {
            let [_, group @ ..] = bits.to_be_bytes();
            out.extend(group.iter().take(3 - padding));
            (bits, count) = (0, 0);
        }
    }
    (count == 0).then_some(out)
}
