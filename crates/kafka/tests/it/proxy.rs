//! A proxy between clients and a broker, which alters what the broker says or keeps it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct Proxy {
    listener: TcpListener,
    pub(crate) port: u16,
    silence: Silence,
}

/// Keeps answers back.
#[derive(Clone, Default)]
pub(crate) struct Silence(Arc<AtomicUsize>);

impl Silence {
    /// Passes on no further answer of the connections that are open. They stay open, and new ones are as before.
    pub(crate) fn of_open_connections(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Proxy {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port, silence: Silence::default() }
    }

    /// Passes on what a client and a broker say, and replaces a part of what the broker says by one of the same length.
    pub(crate) fn run(self, tasks: &mut JoinSet<()>, to: String, part: Vec<u8>, by: Vec<u8>) -> Silence {
        assert_eq!(part.len(), by.len());
        let Self { listener, silence, .. } = self;
        let kept = silence.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let broker = TcpStream::connect(&to).await.unwrap();
                let ((mut from_client, to_client), (from_broker, mut to_broker)) =
                    (client.into_split(), broker.into_split());
                let answers = answers(from_broker, to_client, silence.clone(), (part.clone(), by.clone()));
                connections.spawn(async move {
                    // Either side may end first.
                    tokio::select! {
                        ended = tokio::io::copy(&mut from_client, &mut to_broker) => drop(ended),
                        ended = answers => drop(ended),
                    }
                });
            }
        });
        kept
    }
}

async fn answers(
    mut from_broker: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    silence: Silence,
    (part, by): (Vec<u8>, Vec<u8>),
) -> std::io::Result<()> {
    let opened = silence.0.load(Ordering::SeqCst);
    // The length of an answer, then the answer.
    while let Ok(length) = from_broker.read_u32().await {
        let mut answer = vec![0; length as usize];
        from_broker.read_exact(&mut answer).await?;
        if silence.0.load(Ordering::SeqCst) != opened {
            continue;
        }
        if let Some(at) = answer.windows(part.len()).position(|window| window == part) {
            answer[at..at + by.len()].copy_from_slice(&by);
        }
        to_client.write_u32(length).await?;
        to_client.write_all(&answer).await?;
    }
    Ok(())
}
