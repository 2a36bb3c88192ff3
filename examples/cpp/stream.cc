// Prints every recorded forecast and outcome as a line of JSON, once and in order, over breaks of the connection.
//
//     stream [FILE]       (server: DEJAVU_TARGET, default 127.0.0.1:50051)
//
// FILE stores the resume token of the last printed event, for restarts of this program.
// docs/clients.md has the rules that it follows (streams); examples/README.md has the commands that compile it.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>

#include "dejavu/v1/prediction_service.grpc.pb.h"
#include "error_model.pb.h"

using dejavu::v1::PredictionService;
using dejavu::v1::StreamPredictionsRequest;
using dejavu::v1::StreamPredictionsResponse;
using Seconds = std::chrono::duration<double>;

constexpr std::chrono::seconds LONGEST_SILENCE(60);  // the server sends a heartbeat at least every 30 s
constexpr Seconds FIRST_DELAY(0.25);
constexpr Seconds LONGEST_DELAY(10);
constexpr Seconds LONGEST_REFUSAL(60);
constexpr int FIRST_ATTEMPTS = 3;

// The parts of a status that decide what to do.
struct Ending {
    explicit Ending(const grpc::Status &status) : code(status.error_code()) {
        google::rpc::Status rich;
        rich.ParseFromString(status.error_details());
        google::rpc::ErrorInfo info;
        google::rpc::RetryInfo retry;
        for (const auto &detail : rich.details()) {
            if (detail.UnpackTo(&info)) reason = info.reason();
            if (detail.UnpackTo(&retry))
                retry_after = Seconds(retry.retry_delay().seconds() + 1e-9 * retry.retry_delay().nanos());
        }
    }

    bool expired() const { return reason == "RESUME_TOKEN_EXPIRED" || reason == "INVALID_RESUME_TOKEN"; }

    // Returns whether the stream ended because of its connection or of load, not because of its request.
    bool transient() const {
        switch (code) {
            case grpc::StatusCode::OK:
            case grpc::StatusCode::UNAVAILABLE:
            case grpc::StatusCode::CANCELLED:
            case grpc::StatusCode::DEADLINE_EXCEEDED:
                return true;
            case grpc::StatusCode::RESOURCE_EXHAUSTED:
                return reason == "SUBSCRIBER_TOO_SLOW" || (retry_after >= Seconds(0) && retry_after <= LONGEST_REFUSAL);
            case grpc::StatusCode::INTERNAL:
            case grpc::StatusCode::UNKNOWN:  // the server's have a reason: this one is of the connection, or of a proxy
                return reason.empty();
            default:
                return false;
        }
    }

    grpc::StatusCode code;
    std::string reason;
    Seconds retry_after{-1};
};

// Waits for the operation in progress and returns whether it succeeded; cancels the call after a minute of silence.
bool done(grpc::ClientContext &call, grpc::CompletionQueue &queue) {
    void *tag = nullptr;
    bool succeeded = false;
    const auto deadline = std::chrono::system_clock::now() + LONGEST_SILENCE;
    if (queue.AsyncNext(&tag, &succeeded, deadline) == grpc::CompletionQueue::TIMEOUT) {
        call.TryCancel();
        queue.Next(&tag, &succeeded);
    }
    return succeeded;
}

// The state of a stream across connections.
class Subscriber {
   public:
    // Without a file, the token is not stored.
    explicit Subscriber(std::string file) : file_(std::move(file)) {
        std::ifstream stored(file_, std::ios::binary);
        token_.assign(std::istreambuf_iterator<char>(stored), {});
    }

    // Prints the events of one connection, until it ends.
    grpc::Status follow(PredictionService::Stub &service) {
        StreamPredictionsRequest request;
        request.set_resume_token(token_);
        request.set_include_current(true);
        grpc::ClientContext call;
        grpc::CompletionQueue queue;  // whose operations have deadlines: a blocking Read would wait for ever
        const auto stream = service.AsyncStreamPredictions(&call, request, &queue, nullptr);
        StreamPredictionsResponse message;
        for (bool going_on = done(call, queue); going_on;) {
            stream->Read(&message, nullptr);
            going_on = done(call, queue);
            if (going_on) accept(message);
        }
        grpc::Status status;
        stream->Finish(&status, nullptr);
        done(call, queue);
        return status;
    }

    // Returns how long to wait before the next connection. Throws where another one would not help.
    Seconds lost(const grpc::Status &status) {
        ++attempts_;
        const Ending ending(status);
        if (ending.expired() && !token_.empty()) {
            std::cerr << "starting without the token: events may be missing" << std::endl;
            token_.clear();
            newest_ = 0;  // another ledger has sequences of its own
        } else if (!ending.transient() || (!heard_ && attempts_ >= FIRST_ATTEMPTS)) {
            throw std::runtime_error(status.error_message());
        }
        // Shortened at random, so that the clients of a server do not all come back at once.
        const Seconds wait = delay_ * std::uniform_real_distribution<>(0.5, 1.0)(chance_);
        delay_ = std::min(2 * delay_, LONGEST_DELAY);
        return std::max(wait, ending.retry_after);
    }

   private:
    // Prints the event of a message, unless it was printed before, and then stores the token: after a crash an event
    // may be printed again, but none is lost.
    void accept(const StreamPredictionsResponse &message) {
        heard_ = true;
        delay_ = FIRST_DELAY;
        if (message.has_forecast()) print(message.forecast());
        if (message.has_outcome()) print(message.outcome());
        token_ = message.resume_token();  // heartbeats and events of later releases only have a token
        if (file_.empty()) return;
        std::ofstream stored;
        stored.exceptions(std::ios::failbit | std::ios::badbit);
        stored.open(file_ + ".new", std::ios::binary);
        stored << token_;
        stored.close();
        std::filesystem::rename(file_ + ".new", file_);
    }

    template <typename Recorded>
    void print(const Recorded &recorded) {
        if (recorded.sequence() <= newest_) return;
        std::string line;
        const auto converted = google::protobuf::util::MessageToJsonString(recorded, &line);
        if (!converted.ok()) throw std::runtime_error(converted.ToString());
        std::cout << line << std::endl;
        newest_ = recorded.sequence();
    }

    std::string file_;
    std::string token_;
    std::uint64_t newest_ = 0;  // sequence of the newest printed event
    bool heard_ = false;        // whether any message has arrived
    int attempts_ = 0;          // connections that ended
    Seconds delay_ = FIRST_DELAY;
    std::mt19937 chance_{std::random_device{}()};
};

int main(int count, char **arguments) try {
    std::cout.exceptions(std::ios::failbit | std::ios::badbit);  // an event that is not printed is not processed
    const char *target = std::getenv("DEJAVU_TARGET");
    // By default a channel that fails to connect waits longer and longer, up to two minutes: here lost() decides.
    grpc::ChannelArguments options;
    options.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
    options.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 800);
    const auto channel = grpc::CreateCustomChannel(target ? target : "127.0.0.1:50051",
                                                   grpc::InsecureChannelCredentials(), options);
    const auto service = PredictionService::NewStub(channel);
    Subscriber subscriber(count > 1 ? arguments[1] : "");
    while (true) {
        const auto status = subscriber.follow(*service);
        const Seconds wait = subscriber.lost(status);
        std::cerr << "lost the stream (" << status.error_code() << ": " << status.error_message() << "); retrying in "
                  << wait.count() << " s" << std::endl;
        std::this_thread::sleep_for(wait);
    }
} catch (const std::exception &error) {
    std::cerr << error.what() << std::endl;
    return 1;
}
