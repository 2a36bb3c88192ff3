// Prints every recorded forecast and outcome as a line of JSON, once and in order, over breaks of the connection.
//
//	stream [FILE]       (server: DEJAVU_TARGET, default 127.0.0.1:50051)
//
// FILE stores the resume token of the last printed event, for restarts of this program.
// docs/clients.md has the rules that it follows (streams), and the command that generates the package dejavu/v1.
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand"
	"os"
	"time"

	dejavu "dejavu/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	longestSilence = time.Minute // the server sends a heartbeat at least every 30 s
	firstDelay     = 250 * time.Millisecond
	longestDelay   = 10 * time.Second
	longestRefusal = time.Minute
	firstAttempts  = 3
)

// subscriber is the state of a stream across connections.
type subscriber struct {
	file     string // of the token; empty: it is not stored
	token    string
	newest   uint64 // sequence of the newest printed event
	heard    bool   // whether any message has arrived
	attempts int    // connections that ended
	delay    time.Duration
	chance   *rand.Rand
}

// follow prints the events of one connection, until it ends.
func (s *subscriber) follow(service dejavu.PredictionServiceClient) error {
	connection, cancel := context.WithCancel(context.Background())
	defer cancel()
	silence := time.AfterFunc(longestSilence, cancel)
	defer silence.Stop()
	request := &dejavu.StreamPredictionsRequest{ResumeToken: s.token, IncludeCurrent: true}
	stream, err := service.StreamPredictions(connection, request)
	if err != nil {
		return err
	}
	for {
		silence.Reset(longestSilence)
		message, err := stream.Recv()
		if err != nil {
			return err
		}
		silence.Stop() // only the time of waiting counts, not that of printing
		s.accept(message)
	}
}

// accept prints the event of a message, unless it was printed before, and then stores the token: after a crash an event
// may be printed again, but none is lost.
func (s *subscriber) accept(message *dejavu.StreamPredictionsResponse) {
	s.heard, s.delay = true, firstDelay
	switch event := message.Event.(type) { // heartbeats and events of later releases only have a token
	case *dejavu.StreamPredictionsResponse_Forecast:
		s.print(event.Forecast, event.Forecast.Sequence)
	case *dejavu.StreamPredictionsResponse_Outcome:
		s.print(event.Outcome, event.Outcome.Sequence)
	}
	s.token = message.ResumeToken
	if s.file != "" {
		check(os.WriteFile(s.file+".new", []byte(s.token), 0o600))
		check(os.Rename(s.file+".new", s.file))
	}
}

func (s *subscriber) print(recorded proto.Message, sequence uint64) {
	if sequence <= s.newest {
		return
	}
	line, err := protojson.Marshal(recorded)
	check(err)
	_, err = fmt.Println(string(line))
	check(err)
	s.newest = sequence
}

// lost returns how long to wait before the next connection. Where another one would not help, it ends the program.
func (s *subscriber) lost(err error) time.Duration {
	s.attempts++
	end := status.Convert(err) // an end with OK is io.EOF, which is UNKNOWN here
	reason, retryAfter := "", time.Duration(-1)
	for _, detail := range end.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.RetryInfo:
			retryAfter = detail.RetryDelay.AsDuration()
		}
	}
	expired := reason == "RESUME_TOKEN_EXPIRED" || reason == "INVALID_RESUME_TOKEN"
	if expired && s.token != "" {
		log.Print("starting without the token: events may be missing")
		s.token, s.newest = "", 0 // another ledger has sequences of its own
	} else if !transient(end.Code(), reason, retryAfter) || (!s.heard && s.attempts >= firstAttempts) {
		log.Fatal(err)
	}
	// Shortened at random, so that the clients of a server do not all come back at once.
	wait := time.Duration(float64(s.delay) * (1 - s.chance.Float64()/2))
	if s.delay *= 2; s.delay > longestDelay {
		s.delay = longestDelay
	}
	if wait < retryAfter {
		return retryAfter
	}
	return wait
}

// transient returns whether a stream ended because of its connection or of load, not because of its request.
func transient(code codes.Code, reason string, retryAfter time.Duration) bool {
	switch code {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
		return true
	case codes.ResourceExhausted:
		return reason == "SUBSCRIBER_TOO_SLOW" || (retryAfter >= 0 && retryAfter <= longestRefusal)
	case codes.Internal, codes.Unknown: // the server's have a reason: this one is of the connection, or of a proxy
		return reason == ""
	}
	return false
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	// Go 1.20 and newer seed the functions of math/rand by themselves.
	s := subscriber{delay: firstDelay, chance: rand.New(rand.NewSource(time.Now().UnixNano()))}
	if len(os.Args) > 1 {
		s.file = os.Args[1]
		token, err := os.ReadFile(s.file)
		if !os.IsNotExist(err) {
			check(err)
		}
		s.token = string(token)
	}
	target := os.Getenv("DEJAVU_TARGET")
	if target == "" {
		target = "127.0.0.1:50051"
	}
	// By default a channel that fails to connect waits longer and longer, up to two minutes: here follow decides when.
	quick := backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 800 * time.Millisecond}
	// grpc-go 1.34 and newer: grpc.WithTransportCredentials(insecure.NewCredentials()); 1.63 and newer: grpc.NewClient.
	connection, err := grpc.Dial(target, grpc.WithInsecure(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: 20 * time.Second}))
	check(err)
	service := dejavu.NewPredictionServiceClient(connection)
	for {
		lost := s.follow(service)
		wait := s.lost(lost)
		log.Printf("lost the stream (%v); retrying in %v", lost, wait.Round(time.Millisecond))
		time.Sleep(wait)
	}
}
