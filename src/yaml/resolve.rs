//! What a scalar means by YAML 1.1 as go-yaml v2 takes it (`resolve.go`): `yes` is true, `017` is
//! fifteen, `2020-01-01` stays a text. It sees one scalar and its tag, nothing around it.

use std::borrow::Cow;

const TAG_PREFIX: &str = "tag:yaml.org,2002:";

/// A scalar's meaning.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScalarValue<'s> {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the signed range only.
    Uint(u64),
    /// May be infinite or no number, which JSON cannot hold.
    Float(f64),
    Text(Cow<'s, str>),
}

/// Resolves a scalar. `plain`: it stands without quotes. The error is a message.
pub(super) fn resolve_scalar<'s>(tag: Option<&str>, plain: bool, text: &'s str) -> Result<ScalarValue<'s>, String> {
    let Some(tag) = tag else {
        return Ok(if plain { resolve_plain_scalar(text) } else { ScalarValue::Text(Cow::Borrowed(text)) });
    };
    let Some(kind) = tag.strip_prefix(TAG_PREFIX) else {
        return Ok(ScalarValue::Text(Cow::Borrowed(text)));
    };
    let meaning = match kind {
        "str" => return Ok(ScalarValue::Text(Cow::Borrowed(text))),
        "binary" => return decode_binary(text),
        "bool" | "int" | "float" | "null" => resolve_plain_scalar(text),
        // Telling whether go-yaml accepts the date would need Go's date parser.
        "timestamp" => return Err("the tag `!!timestamp` is not supported".to_owned()),
        _ => return Ok(ScalarValue::Text(Cow::Borrowed(text))),
    };
    match (kind, meaning) {
        ("bool", meaning @ ScalarValue::Bool(_))
        | ("int", meaning @ (ScalarValue::Int(_) | ScalarValue::Uint(_)))
        | ("float", meaning @ ScalarValue::Float(_))
        | ("null", meaning @ ScalarValue::Null) => Ok(meaning),
        #[expect(clippy::cast_precision_loss, reason = "go-yaml converts so, too")]
        ("float", ScalarValue::Int(value)) => Ok(ScalarValue::Float(value as f64)),
        _ => Err(format!("cannot read `{text}` as `!!{kind}`")),
    }
}

/// The meaning of a plain scalar without a tag.
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
        // Go calls a number out of range an error, and the text stays a text.
        return value.is_finite().then_some(ScalarValue::Float(value));
    }
    // A quirk: behind `0b` a sign may stand.
    let signed = plain.strip_prefix("0b")?;
    i64::from_str_radix(signed, 2).ok().map(ScalarValue::Int)
}

/// Go's `ParseUint` with base 0.
fn parse_uint(digits: &str) -> Option<u64> {
    let (radix, rest) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // Rust would take a sign here.
    if rest.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(rest, radix).ok()
}

/// `12`, `12.`, `.5`, `1.5e-3` without a sign.
fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(place) => (digits.get(..place), digits.get(place + 1..)),
        None => (Some(digits), None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = mantissa.unwrap_or_default();
    let mantissa_fits = match mantissa.split_once('.') {
        None => !mantissa.is_empty() && all_digits(mantissa),
        Some((whole, part)) => all_digits(whole) && all_digits(part) && !(whole.is_empty() && part.is_empty()),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

/// A text that begins with a dot goes to Go's `ParseFloat` as it is, which takes an underscore
/// between two digits only.
fn resolve_dotted_float(text: &str) -> Option<ScalarValue<'static>> {
    let bytes = text.as_bytes();
    let between_digits = bytes.iter().enumerate().all(|(place, byte)| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        *byte != b'_' || (digit(place.checked_sub(1)) && digit(place.checked_add(1)))
    });
    let plain = text.replace('_', "");
    if !between_digits || !is_float(&plain) {
        return None;
    }
    let value: f64 = plain.parse().ok()?;
    value.is_finite().then_some(ScalarValue::Float(value))
}

fn decode_binary(text: &str) -> Result<ScalarValue<'static>, String> {
    let bytes = decode_base64(text).ok_or("`!!binary` holds no valid base64")?;
    // Go's JSON replaces each byte that is no UTF-8 by itself.
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| '\u{FFFD}'));
    }
    Ok(ScalarValue::Text(Cow::Owned(out)))
}

/// Padded, standard alphabet, line breaks ignored, as Go's `StdEncoding`.
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
        // Nothing may follow the padding, and it fills the last group only.
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
