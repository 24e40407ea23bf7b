package daemon

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/ipc"
)

// openProgram has the parent start a program, and gives the connection to it.
func (m *member) openProgram(ctx context.Context, kind ipc.Kind, req any) (io.ReadWriteCloser, error) {
	var reply programReply
	files, err := m.parent.CallFiles(ctx, kind, req, &reply)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		closeFiles(files)
		return nil, errors.New("the parent gave no socket")
	}
	conn := &programSocket{parent: m.parent, id: reply.ID}
	if conn.UnixConn, err = reexec.Conn(files[0]); err != nil {
		return nil, err
	}
	return conn, nil
}

// programSocket is the connection to a program.
type programSocket struct {
	*net.UnixConn
	parent *ipc.Conn
	id     uint64
}

// Close closes the connection and has the parent end the program if that does not.
func (c *programSocket) Close() error {
	err := c.UnixConn.Close()
	_ = c.parent.Send(kindProgramStop, &programStop{c.id})
	return err
}
