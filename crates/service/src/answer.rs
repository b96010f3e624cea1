//! Runs a hook on each response without boxing the future.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use pin_project_lite::pin_project;

/// A hook that runs on a response before it is sent.
pub trait Finish {
    /// Reads the response, or changes its head.
    fn finish(self, response: &mut Response);
}

pin_project! {
    /// A request in progress, and the hook on its response. Both are dropped if the connection ends first.
    #[derive(Debug)]
    pub struct Finishing<F, T> {
        #[pin]
        answering: F,
        finish: Option<T>,
    }
}

impl<F, T> Finishing<F, T> {
    /// Waits for `answering`, then runs `finish`.
    pub fn new(answering: F, finish: T) -> Self {
        Self { answering, finish: Some(finish) }
    }
}

impl<F: Future<Output = Result<Response, E>>, T: Finish, E> Future for Finishing<F, T> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut answer = ready!(this.answering.poll(context));
        if let (Ok(response), Some(finish)) = (&mut answer, this.finish.take()) {
            finish.finish(response);
        }
        Poll::Ready(answer)
    }
}
