# SPDX-License-Identifier: MIT
"""The server of Python's `gear` on a port of the loopback interface, until SIGTERM.

    python gear_server.py PORT

Two packets that it does not know are added, as gear would do it: ECHO_REQ, by which `fastgear bench` sees that a server has read
all that came before, and GRAB_JOB (it knows GRAB_JOB_UNIQ).
"""

from __future__ import annotations

import signal
import sys

import gear

RES, ECHO_RES, JOB_ASSIGN = gear.constants.RES, gear.constants.ECHO_RES, gear.constants.JOB_ASSIGN


class Server(gear.Server):
    def handleEchoReq(self, packet: gear.Packet) -> None:
        packet.connection.sendPacket(gear.Packet(RES, ECHO_RES, packet.data))

    def handleGrabJob(self, packet: gear.Packet) -> None:
        job = self.getJobForConnection(packet.connection)
        if job is None:
            self.sendNoJob(packet.connection)
        else:
            data = b"\0".join((job.handle, job.name, job.arguments))
            packet.connection.sendPacket(gear.Packet(RES, JOB_ASSIGN, data))


if __name__ == "__main__":
    server = Server(int(sys.argv[1]), host="127.0.0.1")
    signal.sigwait({signal.SIGTERM})
    server.shutdown()
