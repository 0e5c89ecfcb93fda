//go:build linux && faults

package e2e

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fuseDisk is a file system that this process serves over a directory, and that fails as it is told. It remembers what was written and
// not yet flushed, which a loss of power may take back. Safe for concurrent use.
type fuseDisk struct {
	// below has the files, at is where it is mounted.
	below, at string
	server    *fuse.Server

	mu sync.Mutex
	// writes and flushes are what changes, and flushes, are answered; 0 is as usual. torn has half of a write done before it fails.
	writes, flushes syscall.Errno
	torn            bool
	// slow is how long changes and flushes take beyond what they take.
	slow time.Duration
	// hung is not nil while everything waits for it to be closed.
	hung chan struct{}
	// unflushed are the writes that a loss of power takes back, oldest first, by the number of the file.
	unflushed map[uint64][]overwritten
}

// overwritten is what a write took the place of.
type overwritten struct {
	// file is open as long as it is here.
	file   *os.File
	offset int64
	before []byte
	size   int64
}

// onFuse gives a node a disk that this process serves.
func onFuse(n *Node) *fuseDisk {
	t := n.c.t
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Fatalf("disks can't be made to fail here, and NOTHING WAS TESTED: %v", err)
	}
	d := &fuseDisk{below: n.c.path(n.id + ".below"), at: n.dataDir(), unflushed: map[uint64][]overwritten{}}
	if err := errors.Join(os.Mkdir(d.below, 0o700), os.Mkdir(d.at, 0o700), d.mount()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.asUsual()
		d.forget()
		_ = syscall.Unmount(d.at, syscall.MNT_DETACH)
		// A server whose mount is gone ends by itself.
		d.server.Wait()
	})
	return d
}

func (d *fuseDisk) mount() error {
	zero := time.Duration(0)
	root := &fuseNode{LoopbackNode: &fs.LoopbackNode{RootData: &fs.LoopbackRoot{Path: d.below}}, disk: d}
	var err error
	d.server, err = fs.Mount(d.at, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faulty", Name: "faulty"},
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &zero, NullPermissions: true,
	})
	return err
}

// set changes what the disk does.
func (d *fuseDisk) set(change func(*fuseDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// asUsual has the disk do what it is asked.
func (d *fuseDisk) asUsual() {
	d.set(func(d *fuseDisk) {
		d.writes, d.flushes, d.torn, d.slow = 0, 0, false, 0
		if d.hung != nil {
			close(d.hung)
			d.hung = nil
		}
	})
}

// hang has everything wait until the disk is as usual.
func (d *fuseDisk) hang() { d.set(func(d *fuseDisk) { d.hung = make(chan struct{}) }) }

// wait is what comes before any operation. It returns EINTR to a process that is killed meanwhile.
func (d *fuseDisk) wait(ctx context.Context, slow bool) syscall.Errno {
	d.mu.Lock()
	hung, pause := d.hung, d.slow
	d.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
	if slow && pause > 0 {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
	return 0
}

// change is what comes before an operation that changes files.
func (d *fuseDisk) change(ctx context.Context) syscall.Errno {
	if errno := d.wait(ctx, true); errno != 0 {
		return errno
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// flush is what comes before files are forced to the disk.
func (d *fuseDisk) flush(ctx context.Context) syscall.Errno {
	if errno := d.wait(ctx, true); errno != 0 {
		return errno
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushes
}

// remember keeps what a write takes the place of.
func (d *fuseDisk) remember(file *os.File, offset int64, length int) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	before := make([]byte, length)
	n, err := file.ReadAt(before, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	number := info.Sys().(*syscall.Stat_t).Ino
	d.mu.Lock()
	defer d.mu.Unlock()
	list := d.unflushed[number]
	if len(list) > 0 {
		file = list[0].file
	} else if file, err = reopen(file); err != nil {
		return err
	}
	d.unflushed[number] = append(list, overwritten{file, offset, before[:n], info.Size()})
	return nil
}

// reopen is the same file, to read and write and to be closed by whoever has it.
func reopen(file *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), file.Name()), nil
}

// settled forgets what a file had before, as it is on the disk now.
func (d *fuseDisk) settled(file *os.File) {
	info, err := file.Stat()
	if err != nil {
		return
	}
	number := info.Sys().(*syscall.Stat_t).Ino
	d.mu.Lock()
	defer d.mu.Unlock()
	if list := d.unflushed[number]; len(list) > 0 {
		_ = list[0].file.Close()
		delete(d.unflushed, number)
	}
}

// forget is settled for all files.
func (d *fuseDisk) forget() {
	d.set(func(d *fuseDisk) {
		for number, list := range d.unflushed {
			_ = list[0].file.Close()
			delete(d.unflushed, number)
		}
	})
}

// losePower takes back the last writes of each file that were not flushed, as many as draw says of so many, and mounts the disk anew.
// No process may have files open on it. It returns how many writes were lost.
func (d *fuseDisk) losePower(draw func(int) int) (lost int, err error) {
	if err := poll(patience, d.server.Unmount); err != nil {
		return 0, err
	}
	d.set(func(d *fuseDisk) {
		for _, list := range d.unflushed {
			for keep := draw(len(list) + 1); len(list) > keep; list = list[:len(list)-1] {
				last := list[len(list)-1]
				_, failed := last.file.WriteAt(last.before, last.offset)
				err = errors.Join(err, failed, last.file.Truncate(last.size))
				lost++
			}
		}
	})
	d.forget()
	return lost, errors.Join(err, d.mount())
}

// fuseNode is a file or directory of a fuseDisk.
type fuseNode struct {
	*fs.LoopbackNode
	disk *fuseDisk
}

var (
	_ fs.NodeWrapChilder    = (*fuseNode)(nil)
	_ fs.NodeOpener         = (*fuseNode)(nil)
	_ fs.NodeCreater        = (*fuseNode)(nil)
	_ fs.NodeMkdirer        = (*fuseNode)(nil)
	_ fs.NodeRenamer        = (*fuseNode)(nil)
	_ fs.NodeUnlinker       = (*fuseNode)(nil)
	_ fs.NodeRmdirer        = (*fuseNode)(nil)
	_ fs.NodeSetattrer      = (*fuseNode)(nil)
	_ fs.NodeLookuper       = (*fuseNode)(nil)
	_ fs.NodeCopyFileRanger = (*fuseNode)(nil)
	_ fs.NodeOpendirHandler = (*fuseNode)(nil)
	_ fs.NodeFsyncer        = (*fuseNode)(nil)
	_ fs.FileWriter         = (*fuseFile)(nil)
	_ fs.FileReader         = (*fuseFile)(nil)
	_ fs.FileFsyncer        = (*fuseFile)(nil)
	_ fs.FileReleaser       = (*fuseFile)(nil)
	_ fs.FileGetattrer      = (*fuseFile)(nil)
	_ fs.FileAllocater      = (*fuseFile)(nil)
	_ fs.FileFlusher        = (*fuseFile)(nil)
)

// WrapChild implements fs.NodeWrapChilder.
func (n *fuseNode) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &fuseNode{LoopbackNode: ops.(*fs.LoopbackNode), disk: n.disk}
}

// path is where the file is below.
func (n *fuseNode) path() string { return n.RootData.Path + "/" + n.Path(n.Root()) }

// Lookup implements fs.NodeLookuper.
func (n *fuseNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.disk.wait(ctx, false); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

// Open implements fs.NodeOpener. The file below is opened to read as well, for what is remembered.
func (n *fuseNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	writes := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	if writes {
		if errno := n.disk.change(ctx); errno != 0 {
			return nil, 0, errno
		}
	} else if errno := n.disk.wait(ctx, false); errno != 0 {
		return nil, 0, errno
	}
	how := os.O_RDONLY
	if writes {
		how = os.O_RDWR | int(flags)&syscall.O_TRUNC
	}
	f, err := os.OpenFile(n.path(), how, 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	return &fuseFile{f, n.disk}, 0, 0
}

// Create implements fs.NodeCreater.
func (n *fuseNode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.change(ctx); errno != 0 {
		return nil, nil, 0, errno
	}
	inode, handle, _, errno := n.LoopbackNode.Create(ctx, name, flags&^syscall.O_ACCMODE|syscall.O_RDWR, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if release, ok := handle.(fs.FileReleaser); ok {
		_ = release.Release(ctx)
	}
	f, err := os.OpenFile(n.path()+"/"+name, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	return inode, &fuseFile{f, n.disk}, 0, 0
}

// Mkdir implements fs.NodeMkdirer.
func (n *fuseNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.disk.change(ctx); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

// Rename implements fs.NodeRenamer.
func (n *fuseNode) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if errno := n.disk.change(ctx); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, to.(*fuseNode).LoopbackNode, newName, flags)
}

// Unlink implements fs.NodeUnlinker.
func (n *fuseNode) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.change(ctx); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

// Rmdir implements fs.NodeRmdirer.
func (n *fuseNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.disk.change(ctx); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}

// Setattr implements fs.NodeSetattrer. What it cuts off or adds is not remembered: it counts as on the disk.
func (n *fuseNode) Setattr(ctx context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.disk.change(ctx); errno != 0 {
		return errno
	}
	if size, ok := in.GetSize(); ok {
		if f, err := os.OpenFile(n.path(), os.O_RDWR, 0); err == nil {
			if info, err := f.Stat(); err == nil && int64(size) < info.Size() {
				n.disk.settled(f)
			}
			_ = f.Close()
		}
	}
	return n.LoopbackNode.Setattr(ctx, nil, in, out)
}

// CopyFileRange implements fs.NodeCopyFileRanger: it has processes copy themselves.
func (n *fuseNode) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *fuseNode) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.disk.wait(ctx, false); errno != 0 {
		return nil, 0, errno
	}
	return n.LoopbackNode.OpendirHandle(ctx, flags)
}

// Fsync implements fs.NodeFsyncer, for directories.
func (n *fuseNode) Fsync(ctx context.Context, handle fs.FileHandle, flags uint32) syscall.Errno {
	if file, ok := handle.(*fuseFile); ok {
		return file.Fsync(ctx, flags)
	}
	return n.disk.flush(ctx)
}

// fuseFile is an open file of a fuseDisk.
type fuseFile struct {
	file *os.File
	disk *fuseDisk
}

// Read implements fs.FileReader.
func (f *fuseFile) Read(ctx context.Context, to []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.disk.wait(ctx, false); errno != 0 {
		return nil, errno
	}
	n, err := f.file.ReadAt(to, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(to[:n]), 0
}

// Write implements fs.FileWriter.
func (f *fuseFile) Write(ctx context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	failed := f.disk.change(ctx)
	f.disk.mu.Lock()
	torn := f.disk.torn
	f.disk.mu.Unlock()
	if failed != 0 && !torn {
		return 0, failed
	}
	if failed != 0 {
		data = data[:len(data)/2]
	}
	if err := f.disk.remember(f.file, offset, len(data)); err != nil {
		return 0, fs.ToErrno(err)
	}
	n, err := f.file.WriteAt(data, offset)
	if failed != 0 {
		return 0, failed
	}
	return uint32(n), fs.ToErrno(err)
}

// Fsync implements fs.FileFsyncer. Nothing is forced to the real disk: it does not fail.
func (f *fuseFile) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	if errno := f.disk.flush(ctx); errno != 0 {
		return errno
	}
	f.disk.settled(f.file)
	return 0
}

// Allocate implements fs.FileAllocater.
func (f *fuseFile) Allocate(context.Context, uint64, uint64, uint32) syscall.Errno {
	return syscall.ENOTSUP
}

// Getattr implements fs.FileGetattrer.
func (f *fuseFile) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var stat syscall.Stat_t
	err := syscall.Fstat(int(f.file.Fd()), &stat)
	out.FromStat(&stat)
	return fs.ToErrno(err)
}

// Flush implements fs.FileFlusher: closing a file forces nothing to the disk.
func (f *fuseFile) Flush(context.Context) syscall.Errno { return 0 }

// Release implements fs.FileReleaser.
func (f *fuseFile) Release(context.Context) syscall.Errno { return fs.ToErrno(f.file.Close()) }

// TestFaultDiskItself: the disk that fails by order does nothing else wrong.
func TestFaultDiskItself(t *testing.T) {
	n := &Node{c: &Cluster{t: t, dir: t.TempDir()}, id: "disk"}
	disk := onFuse(n)
	name := n.dataDir() + "/file"
	// Another process would have it, so that this one does not wait for itself.
	read := func() string { return string(n.c.read("disk.below/file")) }
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string) error { _, err := f.WriteAt([]byte(text), 0); return err }
	if err := errors.Join(write("first"), f.Sync(), write("second, which is longer"), write("third")); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "thirdd, which is longer" {
		t.Errorf("the file has %q", got)
	}
	disk.set(func(d *fuseDisk) { d.writes = syscall.EIO })
	if err := write("fourth"); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write that must fail: %v", err)
	}
	disk.set(func(d *fuseDisk) { d.writes, d.flushes = 0, syscall.EIO })
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a flush that must fail: %v", err)
	}
	disk.asUsual()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	lost, err := disk.losePower(func(int) int { return 0 })
	if got := read(); err != nil || lost != 2 || got != "first" {
		t.Errorf("%d writes were lost, %v, and the file has %q", lost, err, got)
	}
}
