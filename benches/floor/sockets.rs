//! The sockets, with the same options as in the interchange.

use zmq::{Context, Socket, SocketType};

use submit_side::address::Address;
use submit_side::config::{Config, PortChoice};
use submit_side::curve::Certificates;

use super::Outcome;

/// The limits are the same as in the interchange's own `io::sockets`.
const HIGH_WATER_MESSAGES: i32 = 1000;
const WORKER_RECEIVE_HIGH_WATER_MESSAGES: i32 = 200;
const LISTEN_BACKLOG: i32 = 65_535;

pub(crate) struct Sockets {
    pub tasks: Socket,
    pub results: Socket,
    pub commands: Socket,
    pub workers: Socket,
    pub worker_port: u16,
}

impl Sockets {
    pub(crate) fn open(config: &Config, certificates: Option<&Certificates>) -> Outcome<Self> {
        let context = Context::new();
        let open = |kind| open(&context, kind, certificates);
        let workers = open(zmq::ROUTER)?;
        workers.set_router_handover(true)?;
        workers.set_router_mandatory(true)?;
        workers.set_backlog(LISTEN_BACKLOG)?;
        workers.set_rcvhwm(WORKER_RECEIVE_HIGH_WATER_MESSAGES)?;
        let address = config.interchange_address.as_ref();
        let host = address.map_or(Ok("*".to_owned()), Address::zmq_host)?;
        let port = match config.worker_port {
            PortChoice::Fixed(port) => port.to_string(),
            PortChoice::Range { .. } => "*".to_owned(),
        };
        workers.bind(&format!("tcp://{host}:{port}"))?;
        let endpoint = workers.get_last_endpoint()?.unwrap_or_default();
        let port = endpoint.rsplit(':').next().unwrap_or_default();
        let worker_port = port.trim_end_matches('\0').parse()?;
        let side = &config.submit_side;
        let host = side.address.zmq_host()?;
        let connected = |kind, port: u16| -> Outcome<Socket> {
            let socket = open(kind)?;
            socket.connect(&format!("tcp://{host}:{port}"))?;
            Ok(socket)
        };
        Ok(Self {
            tasks: connected(zmq::DEALER, side.task_port)?,
            results: connected(zmq::DEALER, side.result_port)?,
            commands: connected(zmq::REP, side.command_port)?,
            workers,
            worker_port,
        })
    }
}

fn open(
    context: &Context,
    kind: SocketType,
    certificates: Option<&Certificates>,
) -> Outcome<Socket> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    socket.set_ipv6(true)?;
    socket.set_sndhwm(HIGH_WATER_MESSAGES)?;
    socket.set_rcvhwm(HIGH_WATER_MESSAGES)?;
    if let Some(certificates) = certificates {
        socket.set_curve_server(true)?;
        socket.set_curve_secretkey(certificates.server_secret().as_bytes())?;
    }
    Ok(socket)
}
