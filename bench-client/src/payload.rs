//! Payloads that can be checked byte for byte without being kept: each is a function of its
//! connection and its sequence number.
//!
//! One of 16 bytes and more begins with both, so that an echo tells which message it answers even
//! if others were lost, overtaken or repeated; so does a text with a place for the latter. A shorter
//! one, or one from a file, is only compared with the payload that is expected next: a fault is
//! seen, but not which, and after a message was lost all echoes look corrupt. From 20 bytes on what
//! follows the name proves it, so that a corrupt name is not taken for that of another message; the
//! number in a text proves itself as little as a short name.

use std::{fs, path::Path};

use rand::rngs::StdRng;
use wireloop::ws::Kind;

use self::{arguments::PayloadArguments, block::Block, sizes::Sizes, template::Template};
use crate::units::plural;

pub(crate) mod arguments;
mod block;
pub(crate) mod sizes;
mod template;

/// What the payloads of a group are.
#[derive(Debug)]
pub(crate) struct Payloads {
    source: Source,
    content: Content,
}

/// Where payloads come from.
#[derive(Debug)]
enum Source {
    Block(Block),
    /// A file.
    File(Vec<u8>),
    /// One line for each message, in turn: at least one.
    Lines(Vec<Vec<u8>>),
    Template(Template),
}

/// What payloads hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Any bytes.
    Bytes,
    /// Printable characters.
    Text,
    /// Parts of a list of records with numbers, names, flags and times.
    Json,
}

impl Payloads {
    /// The payloads that are asked for; the same for all that draw from `rng` at the same place.
    pub(crate) fn new(arguments: &PayloadArguments, rng: &mut StdRng) -> Result<Self, String> {
        let mut content = arguments.content();
        let read = |path| read(path, content == Content::Text);
        let source = if let Some(template) = &arguments.payload_text {
            content = Content::Text;
            Source::Template(template.clone())
        } else if let Some(path) = &arguments.payload_file {
            Source::File(read(path)?)
        } else if let Some(path) = &arguments.payload_lines {
            Source::Lines(lines(&read(path)?, path)?)
        } else {
            return Ok(Self::cut(arguments.size.clone(), content, rng));
        };
        Ok(Self { source, content })
    }

    /// Payloads of these sizes.
    pub(crate) fn cut(sizes: Sizes, content: Content, rng: &mut StdRng) -> Self {
        Self { source: Source::Block(Block::new(sizes, content, rng)), content }
    }

    /// The kind of message that carries them.
    pub(crate) fn kind(&self) -> Kind {
        if self.content == Content::Bytes { Kind::Binary } else { Kind::Text }
    }

    /// What they are, in words.
    pub(crate) fn describe(&self) -> String {
        let kind = match self.content {
            Content::Bytes => "binary",
            Content::Text => "text",
            Content::Json => "JSON-like text",
        };
        match &self.source {
            Source::Block(block) => format!("{} {kind}", block.sizes()),
            Source::File(bytes) => format!("{} B {kind} of a file", bytes.len()),
            Source::Lines(lines) => format!("{} of a file as {kind}", plural(lines.len(), "line")),
            Source::Template(_) => format!("{kind} of a template"),
        }
    }

    /// The size of the largest one.
    pub(crate) fn largest(&self) -> usize {
        match &self.source {
            Source::Block(block) => block.sizes().largest(),
            Source::File(bytes) => bytes.len(),
            Source::Lines(lines) => lines.iter().map(Vec::len).max().unwrap_or(0),
            Source::Template(template) => template.size(u32::MAX, u32::MAX),
        }
    }

    /// The size of one of them.
    pub(crate) fn size(&self, connection: u32, sequence: u32) -> usize {
        match &self.source {
            Source::Block(block) => block.size(connection, sequence),
            Source::File(bytes) => bytes.len(),
            Source::Lines(lines) => line(lines, sequence).len(),
            Source::Template(template) => template.size(connection, sequence),
        }
    }

    /// Whether the payloads say which they are.
    pub(crate) fn are_named(&self) -> bool {
        match &self.source {
            Source::Block(block) => block.are_named(),
            Source::File(_) | Source::Lines(_) => false,
            Source::Template(template) => template.has_sequence(),
        }
    }

    /// Writes a payload to `buffer`, replacing what was there.
    pub(crate) fn write(&self, connection: u32, sequence: u32, buffer: &mut Vec<u8>) {
        buffer.clear();
        match &self.source {
            Source::Block(block) => block.write(connection, sequence, buffer),
            Source::File(bytes) => buffer.extend_from_slice(bytes),
            Source::Lines(lines) => buffer.extend_from_slice(line(lines, sequence)),
            Source::Template(template) => template.write(connection, sequence, buffer),
        }
    }

    /// Whether this is the payload, to the last byte.
    pub(crate) fn is(&self, payload: &[u8], connection: u32, sequence: u32) -> bool {
        match &self.source {
            Source::Block(block) => block.is(payload, connection, sequence),
            Source::File(bytes) => payload == bytes,
            Source::Lines(lines) => payload == line(lines, sequence),
            Source::Template(template) => template.is(payload, connection, sequence),
        }
    }

    /// The connection and the sequence number that a payload names, true or not; `own` is the
    /// connection on which it came.
    pub(crate) fn named(&self, payload: &[u8], own: u32) -> Option<(u32, u32)> {
        match &self.source {
            Source::Block(block) => block.named(payload),
            Source::File(_) | Source::Lines(_) => None,
            Source::Template(template) => template.named(payload, own),
        }
    }

    /// How many bytes of the payload are where this message has them, and whether these are enough
    /// to make this a damaged echo of it, and not a message of its own. `buffer` is for the message.
    pub(crate) fn likeness(
        &self,
        payload: &[u8],
        connection: u32,
        sequence: u32,
        buffer: &mut Vec<u8>,
    ) -> (usize, bool) {
        self.write(connection, sequence, buffer);
        let likeness = payload.iter().zip(&*buffer).filter(|(byte, sent)| byte == sent).count();
        let is_enough =
            payload.len() == buffer.len() || 2 * likeness >= buffer.len().max(payload.len());
        (likeness, is_enough)
    }
}

/// A file, which has to be text if it is sent as that.
fn read(path: &Path, is_text: bool) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if is_text && str::from_utf8(&bytes).is_err() {
        return Err(format!("{} is not UTF-8: leave out --text", path.display()));
    }
    Ok(bytes)
}

/// The lines of a file, without their ends.
fn lines(bytes: &[u8], path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if bytes.is_empty() {
        return Err(format!("{} has no lines", path.display()));
    }
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect())
}

fn line(lines: &[Vec<u8>], sequence: u32) -> &[u8] {
    &lines[sequence as usize % lines.len()]
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_payload_is_recognised_and_no_other_is() {
        let mut rng = StdRng::seed_from_u64(1);
        for size in [0, 1, 15, 16, 20, 300] {
            let payloads = Payloads::cut(Sizes::Constant(size), Content::Bytes, &mut rng);
            let mut buffer = Vec::new();
            payloads.write(3, 99, &mut buffer);
            assert_eq!(buffer.len(), size);
            assert!(payloads.is(&buffer, 3, 99));
            let named = payloads.named(&buffer, 3);
            assert_eq!(named, (size >= 16).then_some((3, 99)));
            let likeness = payloads.likeness(&buffer, 3, 99, &mut Vec::new());
            assert_eq!(likeness, (size, true));
            if size >= 20 {
                assert!(!payloads.is(&buffer, 3, 100));
                assert!(!payloads.is(&buffer, 4, 99));
                assert!(!payloads.is(&buffer[1..], 3, 99));
                for place in 0..size {
                    buffer[place] ^= 1;
                    assert!(!payloads.is(&buffer, 3, 99), "byte {place}");
                    buffer[place] ^= 1;
                }
            }
        }
    }

    #[test]
    fn text_and_json_are_printable() {
        for content in [Content::Text, Content::Json] {
            let mut rng = StdRng::seed_from_u64(1);
            let payloads = Payloads::cut(Sizes::Constant(100), content, &mut rng);
            let mut buffer = Vec::new();
            payloads.write(1, u32::MAX, &mut buffer);
            assert!(buffer.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }

    #[test]
    fn a_size_is_that_of_the_payload_and_the_same_for_the_same_seed() {
        let sizes = || Sizes::Uniform(16, 300);
        let [one, other] = [1, 1]
            .map(|seed| Payloads::cut(sizes(), Content::Bytes, &mut StdRng::seed_from_u64(seed)));
        let (mut buffer, mut again) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for sequence in 0..1000 {
            one.write(5, sequence, &mut buffer);
            other.write(5, sequence, &mut again);
            assert_eq!(buffer, again);
            assert_eq!(one.size(5, sequence), buffer.len());
            assert!(one.is(&buffer, 5, sequence));
            assert_eq!(one.named(&buffer, 5), Some((5, sequence)));
            seen.insert(buffer.len());
        }
        assert!(seen.len() > 200, "{}", seen.len());
    }

    #[test]
    fn lines_are_taken_in_turn_without_their_ends() {
        let lines = lines(b"one\r\ntwo\n\nfour\n", Path::new("x")).unwrap();
        assert_eq!(lines, [&b"one"[..], b"two", b"", b"four"]);
        assert_eq!(line(&lines, 5), b"two");
    }
}
