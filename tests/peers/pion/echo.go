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
	"sync"

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

func answer(api *webrtc.API, offer webrtc.SessionDescription) (*webrtc.PeerConnection, error) {
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
	return pc, nil
}

// whip is RFC 9725's exchange: POST, and DELETE of the session.
type whip struct {
	api  *webrtc.API
	lock sync.Mutex
	open map[string]*webrtc.PeerConnection
}

func (server *whip) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	server.lock.Lock()
	defer server.lock.Unlock()
	switch {
	case request.Method == http.MethodPost && request.Header.Get("Content-Type") == "application/sdp":
		body, err := io.ReadAll(request.Body)
		must(err)
		pc, err := answer(server.api, webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(body)})
		if err != nil {
			http.Error(writer, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		location := fmt.Sprintf("/whip/%d", len(server.open)+1)
		server.open[location] = pc
		writer.Header().Set("Content-Type", "application/sdp")
		writer.Header().Set("Location", location)
		writer.Header().Set("ETag", `"1"`)
		writer.WriteHeader(http.StatusCreated)
		_, err = io.WriteString(writer, pc.LocalDescription().SDP)
		must(err)
	case request.Method == http.MethodDelete && server.open[request.URL.Path] != nil:
		must(server.open[request.URL.Path].Close())
		server.open[request.URL.Path] = nil
	case request.Method == http.MethodGet:
		left := 0
		for _, pc := range server.open {
			if pc != nil {
				left++
			}
		}
		fmt.Fprint(writer, left)
	default:
		http.Error(writer, "no such session", http.StatusNotFound)
	}
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
		pc, err := answer(api, offer)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusInternalServerError)
			return
		}
		must(json.NewEncoder(writer).Encode(pc.LocalDescription()))
	})
	sessions := &whip{api: api, open: map[string]*webrtc.PeerConnection{}}
	http.Handle("/whip", sessions)
	http.Handle("/whip/", sessions)
	go func() { must(http.Serve(listener, nil)) }()
	fmt.Printf("http://%s/offer\n", listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
