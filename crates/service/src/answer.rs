//! What is done once a request is answered: layers that every request passes through, without a box for each.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::Response;
use pin_project_lite::pin_project;

/// Something to be done with an answer before it goes out.
pub trait Finish {
    /// Looks at the answer, or changes its head.
    fn finish(self, response: &mut Response);
}

pin_project! {
    /// A request being answered, with something to be done once it is; dropped with it when its connection ends before.
    #[derive(Debug)]
    pub struct Finishing<F, T> {
        #[pin]
        answering: F,
        finish: Option<T>,
    }
}

impl<F, T> Finishing<F, T> {
    /// Waits for `answering`, then does `finish`.
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
