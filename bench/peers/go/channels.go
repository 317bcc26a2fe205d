package main

import (
	"sync"
	"sync/atomic"
)

func pingPong(n int) {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for ball := range ping {
			pong <- ball
		}
		close(pong)
	}()
	for ; n > 0; n-- {
		ping <- 1
		<-pong
	}
	close(ping)
	<-pong
}

func stream(n, producers, consumers int) {
	const values = 1_000_000
	for ; n > 0; n-- {
		c := make(chan int64, 128)
		var sum atomic.Int64
		var sending, receiving sync.WaitGroup
		for range consumers {
			receiving.Go(func() {
				var mine int64
				for v := range c {
					mine += v
				}
				sum.Add(mine)
			})
		}
		for range producers {
			sending.Go(func() {
				for range values / producers {
					c <- 1
				}
			})
		}
		sending.Wait()
		close(c)
		receiving.Wait()
		if sum.Load() != values {
			panic("values were lost or doubled")
		}
	}
}

const selectValues = 200_000

// feed sends selectValues values to the channels in turn.
func feed(channels []chan int) {
	for i := range selectValues {
		channels[i%len(channels)] <- 1
	}
}

func channels(n int) []chan int {
	out := make([]chan int, n)
	for i := range out {
		out[i] = make(chan int)
	}
	return out
}

func select2(n int) {
	c := channels(2)
	for ; n > 0; n-- {
		go feed(c)
		for sum := 0; sum < selectValues; {
			select {
			case v := <-c[0]:
				sum += v
			case v := <-c[1]:
				sum += v
			}
		}
	}
}

func select8(n int) {
	c := channels(8)
	for ; n > 0; n-- {
		go feed(c)
		for sum := 0; sum < selectValues; {
			select {
			case v := <-c[0]:
				sum += v
			case v := <-c[1]:
				sum += v
			case v := <-c[2]:
				sum += v
			case v := <-c[3]:
				sum += v
			case v := <-c[4]:
				sum += v
			case v := <-c[5]:
				sum += v
			case v := <-c[6]:
				sum += v
			case v := <-c[7]:
				sum += v
			}
		}
	}
}

func selectOtherwise1(n int) {
	a := make(chan int)
	for ; n > 0; n-- {
		select {
		case <-a:
		default:
		}
	}
}

func selectOtherwise2(n int) {
	a, b := make(chan int), make(chan int)
	for ; n > 0; n-- {
		select {
		case <-a:
		case <-b:
		default:
		}
	}
}
