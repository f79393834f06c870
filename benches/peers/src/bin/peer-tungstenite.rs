//! tokio-tungstenite as an echo server on one thread, as in its own example: `peer-tungstenite PORT`.

use std::{error::Error, future, net::Ipv4Addr};

use futures_util::{StreamExt, TryStreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    task,
};
use tokio_tungstenite::tungstenite;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: peer-tungstenite PORT")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        task::spawn(async {
            // An error ends one connection, which the client sees.
            let _ = echo(stream).await;
        });
    }
}

async fn echo(stream: TcpStream) -> Result<(), tungstenite::Error> {
    let socket = tokio_tungstenite::accept_async(stream).await?;
    let (sender, receiver) = socket.split();
    let messages =
        receiver.try_filter(|message| future::ready(message.is_text() || message.is_binary()));
    // Sends what has come before it waits for more.
    messages.forward(sender).await
}
