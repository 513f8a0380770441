// The Pion side of the comparisons: `pion_peer serve` answers every offer and echoes its RTP; `pion_peer call URL` places
// calls to it. Both talk to the benchmark by JSON lines (benchmarks/processes.py has the commands).
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v3"
)

const (
	packetTime      = 20 * time.Millisecond
	packetTicks     = 960 // 20 ms of Opus' 48 kHz clock
	speechBytes     = 80  // 32 kbit/s
	setupsAtOnce    = 8
	setupTimeLimit  = 30 * time.Second
	largestDatagram = 1500
)

var opusTrack = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}

// newAPI leaves Pion's interceptors out unless asked for: without them it sends no RTCP reports and is at its cheapest.
func newAPI(interceptors bool) (*webrtc.API, error) {
	settings := webrtc.SettingEngine{}
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	options := []func(*webrtc.API){webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(media)}
	if interceptors {
		registry := &interceptor.Registry{}
		if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
			return nil, err
		}
		options = append(options, webrtc.WithInterceptorRegistry(registry))
	}
	return webrtc.NewAPI(options...), nil
}

func drainRTCP(sender *webrtc.RTPSender) {
	buffer := make([]byte, largestDatagram)
	for {
		if _, _, err := sender.Read(buffer); err != nil {
			return
		}
	}
}

// newAudio makes a connection with one outgoing Opus track.
func newAudio(api *webrtc.API) (*webrtc.PeerConnection, *webrtc.TrackLocalStaticRTP, error) {
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, nil, err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(opusTrack, "audio", "benchmark")
	if err != nil {
		return nil, nil, err
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return nil, nil, err
	}
	go drainRTCP(sender)
	return pc, track, nil
}

func gathered(pc *webrtc.PeerConnection, description webrtc.SessionDescription) error {
	complete := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(description); err != nil {
		return err
	}
	<-complete
	return nil
}

// --- the answering side ---

func answer(api *webrtc.API, offer webrtc.SessionDescription) (*webrtc.SessionDescription, error) {
	pc, track, err := newAudio(api)
	if err != nil {
		return nil, err
	}
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			if track.WriteRTP(packet) != nil {
				return
			}
		}
	})
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateDisconnected {
			_ = pc.Close()
		}
	})
	if err = pc.SetRemoteDescription(offer); err != nil {
		return nil, err
	}
	description, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, err
	}
	if err = gathered(pc, description); err != nil {
		return nil, err
	}
	return pc.LocalDescription(), nil
}

func serve(api *webrtc.API) error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
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
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(description)
	})
	go func() { _ = http.Serve(listener, nil) }()
	tell(map[string]interface{}{"event": "ready", "url": fmt.Sprintf("http://%s/offer", listener.Addr())})
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// --- the calling side ---

type callers struct {
	api                        *webrtc.API
	url                        string
	quietPackets, cyclePackets int
	up, failed, sent, received int64
}

// speak sends one packet every 20 ms: of each cycle the first are silence-sized, as in our callers' turns.
func (c *callers) speak(track *webrtc.TrackLocalStaticRTP) {
	speech, silence := make([]byte, speechBytes), []byte{0xf8, 0xff, 0xfe}
	ticker := time.NewTicker(packetTime)
	defer ticker.Stop()
	sequence, timestamp, position := uint16(rand.Intn(1<<15)), rand.Uint32(), rand.Intn(c.cyclePackets)
	for range ticker.C {
		payload := speech
		if position%c.cyclePackets < c.quietPackets {
			payload = silence
		}
		position++
		sequence++
		timestamp += packetTicks
		header := rtp.Header{Version: 2, SequenceNumber: sequence, Timestamp: timestamp}
		if track.WriteRTP(&rtp.Packet{Header: header, Payload: payload}) != nil {
			return
		}
		atomic.AddInt64(&c.sent, 1)
	}
}

func (c *callers) listen(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	buffer := make([]byte, largestDatagram)
	for {
		if _, _, err := remote.Read(buffer); err != nil {
			return
		}
		atomic.AddInt64(&c.received, 1)
	}
}

func (c *callers) exchange(offer *webrtc.SessionDescription) (description webrtc.SessionDescription, err error) {
	body, err := json.Marshal(offer)
	if err != nil {
		return description, err
	}
	response, err := http.Post(c.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return description, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return description, fmt.Errorf("HTTP %d: %s", response.StatusCode, text)
	}
	return description, json.NewDecoder(response.Body).Decode(&description)
}

func (c *callers) place() error {
	pc, track, err := newAudio(c.api)
	if err != nil {
		return err
	}
	connected := make(chan struct{}, 1)
	pc.OnTrack(c.listen)
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			connected <- struct{}{}
		}
	})
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err = gathered(pc, offer); err != nil {
		return err
	}
	description, err := c.exchange(pc.LocalDescription())
	if err != nil {
		return err
	}
	if err = pc.SetRemoteDescription(description); err != nil {
		return err
	}
	select {
	case <-connected:
		go c.speak(track)
		return nil
	case <-time.After(setupTimeLimit):
		return fmt.Errorf("not connected after %s", setupTimeLimit)
	}
}

// add places n calls, a few at a time, and tells how many calls are up.
func (c *callers) add(n int) {
	started := time.Now()
	slots := make(chan struct{}, setupsAtOnce)
	var all sync.WaitGroup
	for i := 0; i < n; i++ {
		slots <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-slots; all.Done() }()
			if err := c.place(); err != nil {
				fmt.Fprintln(os.Stderr, "pion_peer:", err)
				atomic.AddInt64(&c.failed, 1)
				return
			}
			atomic.AddInt64(&c.up, 1)
		}()
	}
	all.Wait()
	tell(map[string]interface{}{"event": "up", "calls": atomic.LoadInt64(&c.up), "failed": atomic.LoadInt64(&c.failed),
		"seconds": time.Since(started).Seconds()})
}

func (c *callers) obey() {
	tell(map[string]interface{}{"event": "ready"})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 2 && words[0] == "add":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				fail(err)
			}
			c.add(n)
		case len(words) == 1 && words[0] == "count":
			tell(map[string]interface{}{"event": "count", "calls": atomic.LoadInt64(&c.up),
				"sent": atomic.LoadInt64(&c.sent), "received": atomic.LoadInt64(&c.received)})
		case len(words) == 1 && words[0] == "quit":
			return
		default:
			fail(fmt.Errorf("unknown command %q; legal: add N, count, quit", lines.Text()))
		}
	}
}

func tell(message map[string]interface{}) {
	line, err := json.Marshal(message)
	if err != nil {
		fail(err)
	}
	fmt.Println(string(line))
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "pion_peer:", err)
	os.Exit(1)
}

func usage() {
	fail(fmt.Errorf("usage: pion_peer serve|call URL QUIET_PACKETS CYCLE_PACKETS [interceptors]"))
}

func main() {
	arguments := os.Args[1:]
	interceptors := len(arguments) > 0 && arguments[len(arguments)-1] == "interceptors"
	if interceptors {
		arguments = arguments[:len(arguments)-1]
	}
	api, err := newAPI(interceptors)
	if err != nil {
		fail(err)
	}
	switch {
	case len(arguments) == 1 && arguments[0] == "serve":
		if err := serve(api); err != nil {
			fail(err)
		}
	case len(arguments) == 4 && arguments[0] == "call":
		quiet, err1 := strconv.Atoi(arguments[2])
		cycle, err2 := strconv.Atoi(arguments[3])
		if err1 != nil || err2 != nil || cycle <= 0 {
			usage()
		}
		rand.Seed(time.Now().UnixNano())
		(&callers{api: api, url: arguments[1], quietPackets: quiet, cyclePackets: cycle}).obey()
	default:
		usage()
	}
}
