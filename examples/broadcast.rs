//! A chat room: what one member says, all others get. Members may be on different workers, that is
//! threads; handles reach them all.
//!
//!     cargo run --example broadcast, then open ws://localhost:8181/chat/YOUR-NAME

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::StatusCode;
use wireloop::{Handle, Received, Routes, Server, ServerError, Session, Socket, http::Refusal};

/// Who is there, by name.
#[derive(Default)]
struct Room {
    members: Mutex<HashMap<String, Handle>>,
}

impl Room {
    /// Does something with the members while no other thread does.
    fn with<T>(&self, action: impl FnOnce(&mut HashMap<String, Handle>) -> T) -> T {
        // A member that panicked has left the map whole.
        action(&mut self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says something to all but one.
    fn say(&self, text: &str, except: &str) {
        self.with(|members| {
            for (_, handle) in members.iter().filter(|(name, _)| *name != except) {
                // It fails if that worker does not keep up: this member misses a line. One that
                // reads too slowly is disconnected by the server itself.
                let _ = handle.send_text(text);
            }
        });
    }
}

/// The session of a member.
struct Member {
    name: String,
    room: Arc<Room>,
}

impl Session for Member {
    fn start(&mut self, socket: &mut Socket<'_, Self>) {
        let handle = socket.handle();
        // Two who ask for one name at once may both be accepted; the second one takes over.
        self.room.with(|members| members.insert(self.name.clone(), handle));
        self.room.say(&format!("{} has joined", self.name), "");
        socket.read_message(Self::received);
    }
}

impl Member {
    fn received(&mut self, socket: &mut Socket<'_, Self>, received: Received<'_>) {
        if let Received::Text(text) = received {
            self.room.say(&format!("{}: {text}", self.name), &self.name);
        }
        if matches!(received, Received::Text(_) | Received::Binary(_)) {
            socket.read_message(Self::received);
        }
    }
}

/// However a member's connection ends, its session is dropped.
impl Drop for Member {
    fn drop(&mut self) {
        self.room.with(|members| members.remove(&self.name));
        self.room.say(&format!("{} has left", self.name), "");
    }
}

pub(crate) fn routes() -> Routes {
    let room = Arc::new(Room::default());
    Routes::new().websocket("/chat/{name}", move |request, protocols| {
        let name = request.variable("name").unwrap_or_default().to_owned();
        if room.with(|members| members.contains_key(&name)) {
            return Err(Refusal::new(StatusCode::CONFLICT));
        }
        Ok(protocols.none().session(Member { name, room: Arc::clone(&room) }))
    })
}

fn main() -> Result<(), ServerError> {
    Server::new(routes()).listen("127.0.0.1:8181")?.run()
}
