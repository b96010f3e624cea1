//! Gives a token to a client before its requests.

use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::bindings as c;
use rdkafka::client::Client;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::Fault;
use crate::client::{TracingContext, expires_ms};

/// Gives the client the token of this moment, where clients need one. Can block, as the source of the tokens says.
///
/// librdkafka asks for a token by an event, which is served when the client is polled. A client that makes a request
/// before it is polled, or is polled seldom, would wait for a token until the deadline of the request.
///
/// # Errors
/// If there is no token.
pub(crate) fn authorize(client: &Client<TracingContext>) -> Result<(), Fault> {
    let Some(token) = client.context().token()? else { return Ok(()) };
    let expires_ms = expires_ms(&token);
    let text = |text: String| CString::new(text).map_err(|_| Fault::from(Code::InvalidArgument));
    let (value, principal) = (text(token.value)?, text(token.principal)?);
    let mut reason: [c_char; 128] = [0; 128];
    // SAFETY: the client is alive, all texts are C strings that the library copies, and there are no extensions.
    let code = unsafe {
        c::rd_kafka_oauthbearer_set_token(
            client.native_ptr(),
            value.as_ptr(),
            expires_ms,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            reason.as_mut_ptr(),
            reason.len(),
        )
    };
    match code {
        c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        // The library's reason can quote the token.
        code => Err(Code::from(code).into()),
    }
}
