package shelfmates

import java.io.{FileNotFoundException, IOException}
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.FileAlreadyExistsException
import java.util.{Arrays, Iterator => Lines}

import scala.jdk.CollectionConverters._

import io.delta.storage.HadoopFileSystemLogStore
import org.apache.hadoop.conf.Configuration
import org.apache.hadoop.fs.Path

/** The log of a Delta table in S3 that several drivers write at once.
  *
  * S3 has no rename, but it puts an object on the condition that there is none of its name (`If-None-Match: *`): of two drivers that
  * write the same entry the second is refused, and Delta tries the next one. An answer may be lost, and the client has then put the
  * entry twice: whoever's bytes lie there in the end has written it, as no two entries are the same (each names its transaction). While
  * another's put is under way a store may answer 409, and then nothing is decided: it is tried again.
  */
class S3LogStore(conf: Configuration) extends HadoopFileSystemLogStore(conf) {
  private val Conditional = "fs.option.create.conditional.overwrite"
  private val Undecided = "Status Code: 409" // as Amazon's client says it
  private val Tries = 10
  private val Pause = 200L // milliseconds

  override def write(path: Path, lines: Lines[String], overwrite: java.lang.Boolean, conf: Configuration): Unit = {
    val entry = lines.asScala.map(_ + "\n").mkString.getBytes(UTF_8)
    if (overwrite) put(path, entry, overwrite, conf) else add(path, entry, conf, Tries)
  }

  private def add(path: Path, entry: Array[Byte], conf: Configuration, tries: Int): Unit =
    try put(path, entry, false, conf)
    catch {
      case failed: IOException =>
        found(path, entry.length, conf) match {
          case Some(bytes) if Arrays.equals(bytes, entry) => // ours: only the answer was lost
          case Some(_) =>
            val taken = new FileAlreadyExistsException(path.toString)
            taken.initCause(failed)
            throw taken
          case None if tries > 1 && failed.toString.contains(Undecided) =>
            Thread.sleep(Pause)
            add(path, entry, conf, tries - 1)
          case None => throw failed
        }
    }

  private def put(path: Path, entry: Array[Byte], overwrite: Boolean, conf: Configuration): Unit = {
    val files = path.getFileSystem(conf)
    val out =
      if (overwrite) files.create(path, true)
      else files.createFile(path).overwrite(true).must(Conditional, true).build()
    try out.write(entry)
    catch {
      case failed: Throwable =>
        out.abort() // closing would put a part of it
        throw failed
    }
    out.close() // here it is put
  }

  /** What lies there; of more bytes than asked for, some. */
  private def found(path: Path, length: Int, conf: Configuration): Option[Array[Byte]] =
    try {
      val in = path.getFileSystem(conf).open(path)
      try Some(in.readNBytes(length + 1))
      finally in.close()
    } catch { case _: FileNotFoundException => None }

  /** An object is there whole or not at all. */
  override def isPartialWriteVisible(path: Path, conf: Configuration): java.lang.Boolean = false
}
