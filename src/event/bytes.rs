//! Bytes in JSON: a string when they are UTF-8, otherwise `{"hex": "…"}`. Names and paths of Linux are bytes, and what
//! is not text must survive a recording; what is text should be readable in it.
//!
//! For use as `#[serde(with = "crate::event::bytes")]` on anything that is made of bytes.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex(Hex),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

/// Writes bytes.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(bytes: &(impl AsRef<[u8]> + ?Sized), serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = bytes.as_ref();
    match str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => {
            let hex = to_hex(bytes);
            Hex { hex }.serialize(serializer)
        }
    }
}

/// Reads bytes.
///
/// # Errors
/// When it is neither a string nor a pair of digits for each byte.
pub fn deserialize<'de, T: From<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Text(text) => Ok(text.into_bytes().into()),
        Written::Hex(Hex { hex }) => from_hex(&hex)
            .map(T::from)
            .ok_or_else(|| D::Error::custom("`hex` is not a pair of hexadecimal digits for each byte")),
    }
}

/// Two digits for each byte.
pub fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The bytes that [`to_hex`] has written; nothing for another text.
pub fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? * 16 + digit(*low)?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// Bytes of a fixed size that are padded with NUL; the padding is not written.
pub mod padded {
    use serde::{Deserializer, Serializer, de::Error};

    /// Writes what stands before the first NUL.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer, const N: usize>(bytes: &[u8; N], serializer: S) -> Result<S::Ok, S::Error> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(N);
        super::serialize(&bytes[..end], serializer)
    }

    /// Reads bytes and pads them.
    ///
    /// # Errors
    /// When they are too many, or no bytes.
    pub fn deserialize<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
        let bytes: Vec<u8> = super::deserialize(deserializer)?;
        let mut padded = [0; N];
        padded
            .get_mut(..bytes.len())
            .ok_or_else(|| D::Error::custom(format!("more than {N} bytes")))?
            .copy_from_slice(&bytes);
        Ok(padded)
    }
}

#[cfg(test)]
mod tests {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Some {
        #[serde(with = "super")]
        path: Box<[u8]>,
        #[serde(with = "super::padded")]
        name: [u8; 4],
    }

    #[test]
    fn bytes_survive() {
        for (path, name, json) in [
            (&b"/a\0\n"[..], *b"sh\0\0", r#"{"path":"/a\u0000\n","name":"sh"}"#),
            (b"/\xff\0", *b"abcd", r#"{"path":{"hex":"2fff00"},"name":"abcd"}"#),
            (b"", *b"\xc3\0\0\0", r#"{"path":"","name":{"hex":"c3"}}"#),
        ] {
            let some = Some {
                path: path.into(),
                name,
            };
            assert_eq!(serde_json::to_string(&some).unwrap(), json);
            assert_eq!(serde_json::from_str::<Some>(json).unwrap(), some);
        }
    }

    #[test]
    fn what_is_no_bytes_is_refused() {
        for json in [
            r#"{"path":{"hex":"0"},"name":""}"#,
            r#"{"path":{"hex":"zz"},"name":""}"#,
            r#"{"path":{"hex":"+1"},"name":""}"#,
            r#"{"path":{"hex":"€"},"name":""}"#,
            r#"{"path":"","name":"abcde"}"#,
            r#"{"path":[1],"name":""}"#,
        ] {
            assert!(serde_json::from_str::<Some>(json).is_err(), "{json}");
        }
    }
}
