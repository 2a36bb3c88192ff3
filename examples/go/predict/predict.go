// One forecast of a game, with the models behind it, and a refused request with its details.
//
// docs/clients.md has the command that generates the package dejavu/v1.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	dejavu "dejavu/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

func main() {
	target := os.Getenv("DEJAVU_TARGET")
	if target == "" {
		target = "127.0.0.1:50051"
	}
	// grpc-go 1.34 and newer: grpc.WithTransportCredentials(insecure.NewCredentials()).
	connection, err := grpc.Dial(target, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	service := dejavu.NewPredictionServiceClient(connection)
	deadline, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	answer, err := service.Predict(deadline, &dejavu.PredictRequest{
		Pattern:           []float64{0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6},
		Horizon:           dejavu.Horizon_HORIZON_FINAL,
		HomeTeam:          "BOS",
		AwayTeam:          "LAL",
		GameDate:          "2024-11-01",
		ReturnExplanation: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	forecast := answer.Forecast
	fmt.Printf("LAL @ BOS: %+.1f, %.0f%% within [%+.1f, %+.1f]\n", forecast.PointForecast,
		100*forecast.CoverageProbability, forecast.IntervalLower, forecast.IntervalUpper)
	for _, warning := range forecast.Warnings {
		fmt.Println("  warning:", warning.Text)
	}
	for _, component := range forecast.Explanation.Components {
		fmt.Printf("  %s: %+.1f (weight %.2f)\n", component.Name, component.Prediction, component.Weight)
	}

	_, err = service.Predict(deadline, &dejavu.PredictRequest{Pattern: []float64{0, 1000}})
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Println(detail.Reason)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				fmt.Printf("  %s: %s\n", violation.Field, violation.Description)
			}
		case *errdetails.RetryInfo:
			fmt.Println("  retry after", detail.RetryDelay.AsDuration())
		}
	}
}
