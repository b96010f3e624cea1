// Builds the state of every user from vcc.users with stock libraries, and prints it as one JSON object a line.
//
//	go run . -bootstrap localhost:9092 [-registry http://localhost:8081] [-topic vcc.users]
//
// franz-go reads the topic, its package sr the Confluent framing and the registry, twmb/avro the Avro. Values in Avro's
// single-object encoding need the schema file alone. One topic may hold both.
package main

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// reader reads values in either framing.
type reader struct {
	registry *sr.Client
	released map[[8]byte]*avro.Schema
	byID     map[int]*avro.Schema
}

func newReader(registry, folder string) (*reader, error) {
	r := &reader{released: map[[8]byte]*avro.Schema{}, byID: map[int]*avro.Schema{}}
	files, err := filepath.Glob(filepath.Join(folder, "user-event.v*.avsc"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		schema, err := avro.Parse(string(text))
		if err != nil {
			return nil, err
		}
		var fingerprint [8]byte
		rabin := avro.NewRabin()
		schema.Fingerprint(rabin)
		binary.LittleEndian.PutUint64(fingerprint[:], rabin.Sum64())
		r.released[fingerprint] = schema
	}
	if registry != "" {
		if r.registry, err = sr.NewClient(sr.URLs(registry)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// schemaOf returns the schema that wrote the value, and the value without its framing.
func (r *reader) schemaOf(ctx context.Context, value []byte) (*avro.Schema, []byte, error) {
	if fingerprint, data, err := avro.SingleObjectFingerprint(value); err == nil {
		schema, known := r.released[fingerprint]
		if !known {
			return nil, nil, fmt.Errorf("unknown fingerprint %s", hex.EncodeToString(fingerprint[:]))
		}
		return schema, data, nil
	}
	var header sr.ConfluentHeader
	id, data, err := header.DecodeID(value)
	if err != nil {
		return nil, nil, err
	}
	if schema, known := r.byID[id]; known {
		return schema, data, nil
	}
	if r.registry == nil {
		return nil, nil, fmt.Errorf("schema id %d needs -registry", id)
	}
	text, err := r.registry.SchemaByID(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	schema, err := avro.Parse(text.Schema)
	if err != nil {
		return nil, nil, err
	}
	r.byID[id] = schema
	return schema, data, nil
}

func (r *reader) event(ctx context.Context, value []byte) (map[string]any, error) {
	schema, data, err := r.schemaOf(ctx, value)
	if err != nil {
		return nil, err
	}
	event := map[string]any{}
	_, err = schema.Decode(data, &event)
	return event, err
}

func run(ctx context.Context, bootstrap, registry, topic, folder string) error {
	r, err := newReader(registry, folder)
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})

	users := map[int64]any{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return errs[0].Err
		}
		for record := range fetches.RecordsAll() {
			id, err := strconv.ParseInt(string(record.Key), 10, 64)
			if err != nil {
				return err
			}
			if record.Value == nil {
				delete(users, id)
			} else {
				event, err := r.event(ctx, record.Value)
				if err != nil {
					return fmt.Errorf("%d:%d: %w", record.Partition, record.Offset, err)
				}
				users[id] = event["new"]
			}
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
		}
	}
	ids := make([]int64, 0, len(users))
	for id := range users {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		line, err := json.Marshal(users[id])
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

func main() {
	bootstrap := flag.String("bootstrap", "localhost:9092", "the Kafka cluster")
	registry := flag.String("registry", "", "the address of the schema registry")
	topic := flag.String("topic", "vcc.users", "the topic")
	schemas := flag.String("schemas", "../../../schemas", "the folder of the released schemas")
	flag.Parse()
	log.SetFlags(0)
	if err := run(context.Background(), *bootstrap, *registry, *topic, *schemas); err != nil {
		log.Fatal(err)
	}
}
