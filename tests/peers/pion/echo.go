// A Pion server that echoes audio: answers POSTed offers {sdp, type}, prints its URL, ends with its standard input.
// "echo mux" answers every call from one UDP port, as a server behind a UDP mux does.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v3"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func newAPI(isMuxed bool) *webrtc.API {
	settings := webrtc.SettingEngine{}
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	if isMuxed {
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		must(err)
		settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, socket))
	}
	media := &webrtc.MediaEngine{}
	must(media.RegisterDefaultCodecs())
	// The interceptors send the RTCP reports.
	registry := &interceptor.Registry{}
	must(webrtc.RegisterDefaultInterceptors(media, registry))
	return webrtc.NewAPI(
		webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry))
}

func answer(api *webrtc.API, offer webrtc.SessionDescription) (*webrtc.SessionDescription, error) {
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	track, err := webrtc.NewTrackLocalStaticRTP(opus, "audio", "echo")
	if err != nil {
		return nil, err
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return nil, err
	}
	go func() {
		report := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(report); err != nil {
				return
			}
		}
	}()
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil || track.WriteRTP(packet) != nil {
				return
			}
		}
	})
	if err = pc.SetRemoteDescription(offer); err != nil {
		return nil, err
	}
	description, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	complete := webrtc.GatheringCompletePromise(pc)
	if err = pc.SetLocalDescription(description); err != nil {
		return nil, err
	}
	<-complete
	return pc.LocalDescription(), nil
}

func main() {
	api := newAPI(len(os.Args) > 1 && os.Args[1] == "mux")
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	must(err)
	http.HandleFunc("/offer", func(writer http.ResponseWriter, request *http.Request) {
		var offer webrtc.SessionDescription
		if err := json.NewDecoder(request.Body).Decode(&offer); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		description, err := answer(api, offer)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusInternalServerError)
			return
		}
		must(json.NewEncoder(writer).Encode(description))
	})
	go func() { must(http.Serve(listener, nil)) }()
	fmt.Printf("http://%s/offer\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
