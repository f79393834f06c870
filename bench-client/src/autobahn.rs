//! The client under test of the Autobahn suite's fuzzing server: it echoes what each case sends,
//! through the same driver, handshake and protocol as the load.

use std::time::Duration;

use wireloop::{
    http::{ClientHandshake, ClientRequest},
    io::{Completion, Driver, Epoll, Outbox, SendState, SendStates, Token},
    ws::{
        CloseFrame, Deflater, Deflation, Event, Input, Kind, Limits, ReadMode, Receiver, Role,
        Rules, Sender, Workspace,
    },
};

use crate::{
    compression::{Compression, LEVEL, client_side},
    run::Keys,
    target::{Target, TargetArguments},
};

/// The name under which the suite reports this client.
const AGENT: &str = "wireloop-bench";

/// How long a case may take, and how long the server may take to end a connection.
const CASE_TIMEOUT: Duration = Duration::from_secs(600);

/// Lets the suite run all its cases against this client, then write its report.
pub(crate) fn run(url: &str) -> Result<(), String> {
    let url = url.trim_end_matches('/');
    let cases = Echo::run(&format!("{url}/getCaseCount"))?.ok_or("the suite tells no count")?;
    let cases: u32 = cases.parse().map_err(|_| format!("{cases} is no number of cases"))?;
    for case in 1..=cases {
        // How a case ends is the suite's to judge.
        let _ = Echo::run(&format!("{url}/runCase?case={case}&agent={AGENT}"))?;
    }
    Echo::run(&format!("{url}/updateReports?agent={AGENT}"))?;
    Ok(())
}

/// One connection.
struct Echo {
    output: Output,
    outbox: Outbox,
    keys: Keys,
    receiver: Receiver,
    sender: Sender,
    deflation: Option<Deflation>,
    workspace: Workspace,
    deflater: Deflater,
    /// Until the connection is open: the handshake and what has arrived of its response.
    handshake: Option<(ClientHandshake, Vec<u8>)>,
    first_text: Option<String>,
    has_ended: bool,
}

/// The send state of the only connection.
struct Output(SendState);

impl SendStates for Output {
    fn send_state(&mut self, _: Token) -> Option<&mut SendState> {
        Some(&mut self.0)
    }
}

const TOKEN: Token = Token { index: 0, generation: 1 };

impl Echo {
    /// Echoes everything until the server ends the connection; returns the first text.
    fn run(url: &str) -> Result<Option<String>, String> {
        let target = Target::resolve(url, &TargetArguments::default())?;
        let failed = |error: std::io::Error| format!("{url}: {error}");
        let mut driver = Epoll::new().map_err(failed)?;
        driver.connect(TOKEN, target.address(0), None).map_err(failed)?;
        let mut echo = Self {
            output: Output(SendState::default()),
            outbox: Outbox::default(),
            keys: Keys::new(),
            receiver: Receiver::default(),
            sender: Sender::default(),
            deflation: None,
            workspace: Workspace::new(),
            deflater: Deflater::new(LEVEL, 0),
            handshake: None,
            first_text: None,
            has_ended: false,
        };
        echo.serve(&mut driver, &target).map_err(|error| format!("{url}: {error}"))?;
        Ok(echo.first_text)
    }

    fn serve(&mut self, driver: &mut Epoll, target: &Target) -> Result<(), String> {
        let deadline = driver.now() + CASE_TIMEOUT;
        while driver.now() < deadline {
            let waited = self.outbox.wait(driver, Some(CASE_TIMEOUT), &mut self.output);
            waited.map_err(|error| error.to_string())?;
            // A send that fails is followed by the end of receiving.
            while let Some((_, result)) = self.outbox.next_result() {
                self.sent(driver, &result);
            }
            let mut goes_on = true;
            while let Some(completion) = driver.next() {
                self.outbox.begin(TOKEN, &self.output.0);
                match completion {
                    Completion::Connected { result, .. } => {
                        result.map_err(|error| error.to_string())?;
                        self.connected(target)?;
                        driver.receive(TOKEN);
                    }
                    Completion::Received { bytes, .. } => self.received(bytes)?,
                    Completion::ReceiveEnded { .. } => goes_on = false,
                    Completion::Sent { result, .. } => self.sent(driver, &result),
                    _ => {}
                }
                self.outbox.submit(&mut self.output.0);
            }
            self.outbox.flush(driver, |_| {});
            if !goes_on {
                return Ok(());
            }
        }
        Err("the case did not end in time".into())
    }

    fn connected(&mut self, target: &Target) -> Result<(), String> {
        let request = ClientRequest {
            host: &target.host,
            target: &target.path,
            key: self.keys.handshake(),
            protocols: &[],
            deflate: Compression::Kept.offer(),
            headers: &http::HeaderMap::new(),
        };
        let handshake = ClientHandshake::start(&request, self.outbox.buffer());
        self.handshake = Some((handshake.map_err(|error| error.to_string())?, Vec::new()));
        Ok(())
    }

    fn received(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let Some((handshake, input)) = &mut self.handshake else {
            self.take_frames(bytes);
            return Ok(());
        };
        input.extend_from_slice(bytes);
        if let Some(established) = handshake.read(input).map_err(|error| error.to_string())? {
            let mut rest = input.split_off(established.consumed);
            self.deflation = established.deflate.map(client_side);
            self.handshake = None;
            self.take_frames(&mut rest);
        }
        Ok(())
    }

    fn take_frames(&mut self, bytes: &mut [u8]) {
        let compression = self.deflation.as_ref().map(Deflation::receives);
        let rules = Rules { compression, ..Rules::new(Role::Client, Limits::DEFAULT) };
        let mut input = Input::new(bytes);
        while !self.has_ended {
            let Self { receiver, sender, deflation, workspace, deflater, outbox, .. } = self;
            let key = Some(self.keys.mask());
            let out = outbox.buffer();
            let mut echo = |kind, payload: &[u8]| match deflation {
                None => sender.message(out, kind, payload, key),
                Some(deflation) => {
                    sender.deflated_message(out, kind, payload, key, deflation, deflater)
                }
            };
            let wanted = Some(ReadMode::Message);
            // What is refused comes after a Close of this end.
            let _ = match receiver.next_event(&mut input, wanted, &rules, workspace) {
                Ok(None) => return,
                Ok(Some(Event::Text(text))) => {
                    self.first_text.get_or_insert_with(|| text.into());
                    echo(Kind::Text, text.as_bytes())
                }
                Ok(Some(Event::Binary(bytes))) => echo(Kind::Binary, bytes),
                Ok(Some(Event::Ping(payload))) => sender.pong(out, payload, key),
                Ok(Some(Event::Pong(_) | Event::Frame { .. })) => Ok(()),
                Ok(Some(Event::Close(frame))) => {
                    self.has_ended = true;
                    sender.close(out, frame, key)
                }
                Err(error) => {
                    self.has_ended = true;
                    let reason = error.to_string();
                    let frame = CloseFrame { code: error.close_code(), reason: &reason };
                    sender.close(out, Some(frame), key)
                }
            };
        }
    }

    fn sent(&mut self, driver: &mut Epoll, result: &std::io::Result<()>) {
        self.outbox.sent(driver, TOKEN, &mut self.output.0, result);
    }
}
