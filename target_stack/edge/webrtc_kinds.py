"""What WebRTC calls can be made of: aiortc's peer connection, or our own light one (edge/light)."""

from typing import Literal

WebRtc = Literal["aiortc", "light"]
WEBRTC: tuple[WebRtc, ...] = ("aiortc", "light")
