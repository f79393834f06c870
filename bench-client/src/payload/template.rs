//! A text with the numbers of its connection and its message in places that are marked.

use std::io::Write;

/// A text with `{connection}` and `{sequence}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Connection,
    Sequence,
}

const MARKS: [(&str, Part); 2] =
    [("{connection}", Part::Connection), ("{sequence}", Part::Sequence)];

impl Template {
    /// Reads a template. What is no mark stands for itself, braces too.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let marks = MARKS.iter().filter_map(|mark| Some((rest.find(mark.0)?, mark)));
            let Some((place, (mark, part))) = marks.min_by_key(|(place, _)| *place) else {
                parts.push(Part::Text(rest.into()));
                break;
            };
            if place > 0 {
                parts.push(Part::Text(rest[..place].into()));
            }
            parts.push(part.clone());
            rest = &rest[place + mark.len()..];
            let goes_on = |c: char| c.is_ascii_digit();
            if rest.starts_with(goes_on) || MARKS.iter().any(|(mark, _)| rest.starts_with(mark)) {
                return Err(format!("where {mark} ends cannot be seen: put a space behind it"));
            }
        }
        Ok(Self(parts))
    }

    /// Whether the payloads tell which message they are.
    pub(crate) fn has_sequence(&self) -> bool {
        self.0.contains(&Part::Sequence)
    }

    /// Appends the text for a message.
    pub(crate) fn write(&self, connection: u32, sequence: u32, buffer: &mut Vec<u8>) {
        for part in &self.0 {
            // Writing to memory does not fail.
            let _ = match part {
                Part::Text(text) => buffer.write_all(text.as_bytes()),
                Part::Connection => write!(buffer, "{connection}"),
                Part::Sequence => write!(buffer, "{sequence}"),
            };
        }
    }

    /// Whether this is the text for a message, to the last byte.
    pub(crate) fn is(&self, payload: &[u8], connection: u32, sequence: u32) -> bool {
        let mut rest = payload;
        for part in &self.0 {
            let mut buffer = [0; 10];
            let text = match part {
                Part::Text(text) => text.as_bytes(),
                Part::Connection => digits(connection, &mut buffer),
                Part::Sequence => digits(sequence, &mut buffer),
            };
            match rest.strip_prefix(text) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// The connection and the message that a payload names, true or not. A template without the
    /// former belongs to the connection on which it came.
    pub(crate) fn named(&self, payload: &[u8], own: u32) -> Option<(u32, u32)> {
        let (mut connection, mut sequence) = (own, None);
        let mut rest = payload;
        for part in &self.0 {
            if let Part::Text(text) = part {
                rest = rest.strip_prefix(text.as_bytes())?;
                continue;
            }
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, behind) = rest.split_at(length);
            let number = str::from_utf8(digits).ok()?.parse().ok()?;
            match part {
                Part::Connection => connection = number,
                _ => sequence = Some(number),
            }
            rest = behind;
        }
        Some((connection, sequence?))
    }

    /// The size of the text for a message.
    pub(crate) fn size(&self, connection: u32, sequence: u32) -> usize {
        let length = |number: u32| number.checked_ilog10().map_or(1, |log| log as usize + 1);
        let sizes = self.0.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Connection => length(connection),
            Part::Sequence => length(sequence),
        });
        sizes.sum()
    }
}

/// A number as it is written.
fn digits(mut number: u32, buffer: &mut [u8; 10]) -> &[u8] {
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &buffer[start..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(template: &Template, connection: u32, sequence: u32) -> Vec<u8> {
        let mut buffer = Vec::new();
        template.write(connection, sequence, &mut buffer);
        buffer
    }

    #[test]
    fn a_text_names_its_connection_and_its_message() {
        let template = Template::read(r#"{"id": {sequence}, "from": "{connection}"}"#).unwrap();
        for (connection, sequence) in [(0, 0), (7, 10), (u32::MAX, u32::MAX)] {
            let text = text(&template, connection, sequence);
            assert_eq!(template.named(&text, 1), Some((connection, sequence)));
            assert_eq!(template.size(connection, sequence), text.len());
            assert!(template.is(&text, connection, sequence));
            assert!(!template.is(&text, connection, sequence ^ 1));
            assert!(!template.is(&text[1..], connection, sequence));
            assert!(!template.is(&text[..text.len() - 1], connection, sequence));
        }
        assert_eq!(text(&template, 3, 4), br#"{"id": 4, "from": "3"}"#);
        assert_eq!(template.named(b"nonsense", 1), None);
    }

    #[test]
    fn without_a_connection_it_is_the_one_on_which_it_came() {
        let template = Template::read("hello {sequence}").unwrap();
        assert_eq!(template.named(b"hello 12", 5), Some((5, 12)));
        assert!(!Template::read("hello {connection}").unwrap().has_sequence());
        assert!(Template::read("").unwrap().is(b"", 1, 1));
    }

    #[test]
    fn numbers_whose_end_cannot_be_seen_are_refused() {
        for text in ["{sequence}0", "{connection}{sequence}"] {
            assert!(Template::read(text).unwrap_err().contains("put a space"), "{text}");
        }
        assert!(Template::read("{sequence}.0 {Sequence} {").is_ok());
    }
}
