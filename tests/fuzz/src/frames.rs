//! RFC 6455 sections 5 to 8 once more, read as plainly as possible: the whole input at once, every
//! payload copied, text validated from its start each time.

use wireloop::ws::{Event, FrameHeader, Limits, OpCode, ProtocolError, Role, Rules};

/// An event that owns its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    Message { is_text: bool, payload: Vec<u8> },
    Frame { opcode: OpCode, is_final: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(ProtocolError),
}

impl Owned {
    pub fn is_control(&self) -> bool {
        matches!(self, Self::Ping(_) | Self::Pong(_) | Self::Close(_))
    }

    /// Whether nothing may follow.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Failed(_))
    }
}

impl From<Event<'_>> for Owned {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Message { is_text: true, payload: text.into() },
            Event::Binary(bytes) => Self::Message { is_text: false, payload: bytes.into() },
            Event::Frame { opcode, is_final, payload } => {
                Self::Frame { opcode, is_final, payload: payload.into() }
            }
            Event::Ping(payload) => Self::Ping(payload.into()),
            Event::Pong(payload) => Self::Pong(payload.into()),
            Event::Close(frame) => Self::Close(frame.map(|f| (f.code.0, f.reason.into()))),
        }
    }
}

/// Section 5.2, field by field, and RFC 7692 section 6; `None` if more bytes are needed.
pub fn header(bytes: &[u8], rules: &Rules) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let is_compressed = first & 0b0100_0000 != 0;
    if first & 0b0011_0000 != 0 || is_compressed && rules.compression.is_none() {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = match first & 0b1111 {
        0 => OpCode::Continuation,
        1 => OpCode::Text,
        2 => OpCode::Binary,
        8 => OpCode::Close,
        9 => OpCode::Ping,
        10 => OpCode::Pong,
        reserved => return Err(ProtocolError::ReservedOpCode(reserved)),
    };
    if is_compressed && opcode != OpCode::Text && opcode != OpCode::Binary {
        return Err(ProtocolError::ReservedBits);
    }
    let is_final = first & 0b1000_0000 != 0;
    let is_control = first & 0b1000 != 0;
    if is_control && !is_final {
        return Err(ProtocolError::FragmentedControlFrame);
    }
    let Some(second) = bytes.get(1) else { return Ok(None) };
    let is_masked = second & 0b1000_0000 != 0;
    if is_masked && rules.role == Role::Client {
        return Err(ProtocolError::MaskedFrame);
    }
    if !is_masked && rules.role == Role::Server {
        return Err(ProtocolError::UnmaskedFrame);
    }
    let short = second & 0b0111_1111;
    if is_control && short > 125 {
        return Err(ProtocolError::ControlFrameTooLong);
    }
    let extended = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if extended == 8 && bytes.get(2).is_some_and(|byte| byte & 0b1000_0000 != 0) {
        return Err(ProtocolError::LengthOverflow);
    }
    let Some(digits) = bytes.get(2..2 + extended) else { return Ok(None) };
    let number = digits.iter().fold(0, |number: u64, &digit| (number << 8) | u64::from(digit));
    let payload_bytes = if extended == 0 { short.into() } else { number };
    if extended == 2 && number <= 125 || extended == 8 && number <= 65_535 {
        return Err(ProtocolError::NonMinimalLength);
    }
    let size = 2 + extended;
    let header = FrameHeader { is_final, is_compressed, opcode, mask: None, payload_bytes };
    if !is_masked {
        return Ok(Some((header, size)));
    }
    let Some(&[a, b, c, d]) = bytes.get(size..size + 4) else { return Ok(None) };
    Ok(Some((FrameHeader { mask: Some([a, b, c, d]), ..header }, size + 4)))
}

/// What a reader who is always waiting, for messages or for frames, is told about `wire`.
pub fn receive(wire: &[u8], role: Role, limits: Limits, by_frames: bool) -> Vec<Owned> {
    let mut events = Vec::new();
    let mut rest = wire;
    // The opcode that began the message, its payload, and how many frames it has.
    let mut message: Option<(OpCode, Vec<u8>, u32)> = None;
    loop {
        match frame(&mut rest, &mut message, role, limits, by_frames) {
            Ok(Some(event)) => events.extend(event),
            Ok(None) => return events,
            Err(error) => events.push(Owned::Failed(error)),
        }
        if events.last().is_some_and(Owned::is_end) {
            return events;
        }
    }
}

/// The event of the frame at the start of `rest`, if it has one; `None` if the frame is cut.
fn frame(
    rest: &mut &[u8],
    message: &mut Option<(OpCode, Vec<u8>, u32)>,
    role: Role,
    limits: Limits,
    by_frames: bool,
) -> Result<Option<Option<Owned>>, ProtocolError> {
    let Some((header, size)) = header(rest, &Rules::new(role, limits))? else { return Ok(None) };
    *rest = &rest[size..];
    let FrameHeader { is_final, opcode, mask, payload_bytes, .. } = header;
    let is_data = matches!(opcode, OpCode::Text | OpCode::Binary | OpCode::Continuation);
    if is_data && payload_bytes > limits.frame_bytes as u64 {
        return Err(ProtocolError::FrameTooLarge);
    }
    let is_whole = rest.len() as u64 >= payload_bytes;
    let (arrived, after) = rest.split_at(payload_bytes.min(rest.len() as u64) as usize);
    *rest = after;
    let key = mask.unwrap_or_default();
    let payload: Vec<u8> = arrived.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
    if !is_data {
        return if is_whole {
            control(opcode, payload).map(|event| Some(Some(event)))
        } else {
            Ok(None)
        };
    }

    match (&message, opcode) {
        (None, OpCode::Continuation) => return Err(ProtocolError::UnexpectedContinuation),
        (Some(_), OpCode::Text | OpCode::Binary) => {
            return Err(ProtocolError::ExpectedContinuation);
        }
        _ => {}
    }
    let (kind, whole, frames) = message.get_or_insert((opcode, Vec::new(), 0));
    *frames += 1;
    // A reader of frames has had all those before.
    let waiting = if by_frames { 0 } else { whole.len() as u64 };
    if waiting + payload_bytes > limits.message_bytes as u64 {
        return Err(ProtocolError::MessageTooLarge);
    }
    if !by_frames && *frames > limits.fragments {
        return Err(ProtocolError::TooManyFragments);
    }
    whole.extend_from_slice(&payload);
    if *kind == OpCode::Text && is_invalid(whole, is_final && is_whole) {
        return Err(ProtocolError::InvalidUtf8);
    }
    if !is_whole {
        return Ok(None);
    }
    let finished = if is_final { message.take() } else { None };
    if by_frames {
        return Ok(Some(Some(Owned::Frame { opcode, is_final, payload })));
    }
    Ok(Some(finished.map(|(kind, payload, _)| {
        let is_text = kind == OpCode::Text;
        Owned::Message { is_text, payload }
    })))
}

/// Section 8.1: whether this is no text, and cannot become any by going on if it is not at its end.
fn is_invalid(text: &[u8], is_end: bool) -> bool {
    std::str::from_utf8(text).is_err_and(|error| is_end || error.error_len().is_some())
}

/// Sections 5.5 and 7.4.
fn control(opcode: OpCode, payload: Vec<u8>) -> Result<Owned, ProtocolError> {
    if opcode == OpCode::Ping {
        return Ok(Owned::Ping(payload));
    }
    if opcode == OpCode::Pong {
        return Ok(Owned::Pong(payload));
    }
    if payload.is_empty() {
        return Ok(Owned::Close(None));
    }
    if payload.len() == 1 {
        return Err(ProtocolError::TruncatedCloseCode);
    }
    let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
    let is_registered = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code);
    if !is_registered && !(3000..5000).contains(&code) {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    let reason = String::from_utf8(payload[2..].to_vec());
    let reason = reason.map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Owned::Close(Some((code, reason))))
}
